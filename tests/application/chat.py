"""A chat in this very process, on a real store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from chatledger.application.caller import Caller
from chatledger.application.commands.new_message import NewMessage, Sent
from chatledger.application.context import SYSTEM, Context
from chatledger.application.generation.worker import Worker
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.subscription import Handler
from chatledger.application.ports.generator import Generator
from chatledger.application.ports.queue import TaskQueue
from chatledger.application.ports.views import AppView, MessageView, Page
from chatledger.bootstrap import Running, open_chatledger
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.events import AnswerChunkAppended, GenerationStarted
from chatledger.settings import Settings

DEADLINE = 20.0


class Chat:
    def __init__(self, running: Running, app: AppView, settings: Settings) -> None:
        self.running = running
        self.application = running.application
        self.app = app
        self.settings = settings

    def caller(self, user: str | None = "ada", app: AppView | None = None) -> Caller:
        return Caller(app=app or self.app, user=user, correlation_id=self.application.new_id())

    async def new_app(self, mode: str = "chat", generator: str = "scripted", **settings: Any) -> AppView:
        configuration = AppConfiguration(generator=generator, settings=settings)
        context = Context(actor=SYSTEM, correlation_id=self.application.new_id())
        created = await self.application.apps.create(mode, "demo", configuration, context)
        return await self.application.credentials.app(created.api_key)

    async def send(self, script: str = "", *, conversation: UUID | None = None, user: str = "ada", **more: Any) -> Sent:
        query = f"/script {script}" if script else "hello"
        new = NewMessage(query=query, inputs={}, conversation_id=conversation, **more)
        return await self.application.sending.send(self.caller(user), new)

    async def answered(self, script: str = "", **more: Any) -> MessageView:
        sent = await self.send(script, **more)
        await self.to_the_end(sent)
        return await self.view(sent.message_id)

    async def to_the_end(self, sent: Sent) -> list[Envelope]:
        seen = []
        async for batch in self.batches(sent):
            seen += batch
        return seen

    async def batches(self, sent: Sent) -> AsyncIterator[Sequence[Envelope]]:
        with sent.follower as follower:
            async with asyncio.timeout(DEADLINE):
                async for batch in follower.batches(known=sent.known):
                    yield batch

    async def first_text(self, batches: AsyncIterator[Sequence[Envelope]]) -> list[Envelope]:
        seen: list[Envelope] = []
        async for batch in batches:
            seen += batch
            if any(isinstance(envelope.body, AnswerChunkAppended) for envelope in batch):
                return seen
        raise AssertionError("the stream ended without text")

    async def view(self, message_id: UUID) -> MessageView:
        return await self.application.history.message(self.caller(), message_id)

    async def history(self, conversation: UUID, limit: int = 20) -> list[MessageView]:
        messages, _ = await self.application.history.messages(self.caller(), conversation, Page(limit))
        return messages

    async def events(self, message_id: UUID) -> list[Envelope]:
        return await self.running.ledger.read(message_id)

    async def names(self, message_id: UUID) -> list[str]:
        return [type(envelope.body).__name__ for envelope in await self.events(message_id)]


def text_of(envelopes: Sequence[Envelope]) -> str:
    """What a client shows that replaces the text at each new attempt."""
    text = ""
    for envelope in envelopes:
        if isinstance(envelope.body, GenerationStarted):
            text = text[: envelope.body.offset]
        elif isinstance(envelope.body, AnswerChunkAppended):
            text += envelope.body.text
    return text


def words(attempt: int, count: int) -> str:
    return "".join(f"a{attempt}t{number} " for number in range(count))


@asynccontextmanager
async def open_chat(
    folder: Path,
    *,
    with_worker: bool = True,
    projections: Sequence[Any] = (),
    handlers: Sequence[Handler] = (),
    generators: Sequence[Generator] = (),
    **overrides: Any,
) -> AsyncIterator[Chat]:
    settings = Settings(data_dir=folder / "data", **{"shutdown_grace": 0} | overrides)
    following = {"projections": projections, "handlers": handlers, "generators": generators}
    async with open_chatledger(settings, with_worker=with_worker, **following) as running:
        chat = Chat(running, None, settings)
        apps = await running.application.views.apps()
        chat.app = apps[0] if apps else await chat.new_app()
        yield chat


def worker_like(worker: Worker, queue: TaskQueue, **changed: Any) -> Worker:
    """Another one on the same ledger, with a queue of its own and with some of its settings changed."""
    return Worker(
        msgspec.structs.replace(worker._settings, **changed),
        worker._ledger,
        worker._views,
        queue,
        worker._bus,
        worker._generators,
        worker._gates,
        worker._clock,
        store_made_file=worker._store_made_file,
        prompts=worker._prompts,
        audience=worker._audience,
    )


async def until(condition: Any) -> Any:
    """Ask again and again until the answer is true, within the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not (answer := await condition()):  # noqa: ASYNC110 - any state, not only ours to signal
            await asyncio.sleep(0.005)
    return answer
