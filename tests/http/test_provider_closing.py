"""However an answer ends before its provider does, the provider's connection is closed: seen from its side."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest

from chatledger.application.grace import Grace
from chatledger.domain.events import AnswerChunkAppended
from chatledger.domain.message import Message
from tests.support import fake_anthropic, fake_google
from tests.support.databases import ON_SQLITE
from tests.support.fake_openai import Event, FakeOpenAI, Pause, Received, Stream, token
from tests.support.server import LiveServer, a_context, chat_body, until

WORDS = [f"w{number} " for number in range(5)]
PACE = 0.02
HUSH = 600.0
FORBIDDEN = "w3 "
SOON = 10.0
PATIENCE = 60.0
"""Until a provider is asked for the first time: its library takes seconds to load."""


def paced(first: Event, *words: Event) -> Stream:
    """Words, and then a silence: nobody who only waits for the next word would ever hang up."""
    return Stream([first, *(step for word in words for step in (word, Pause(PACE))), Pause(HUSH)])


def openai() -> Stream:
    return paced(token("", role="assistant"), *map(token, WORDS))


def anthropic() -> Stream:
    start, *deltas, _ = fake_anthropic.text_block(0, *WORDS)
    return Stream([fake_anthropic.begins(), *paced(start, *deltas).steps])


def google() -> Stream:
    return paced(*(fake_google.chunk({"text": word}) for word in WORDS))


KINDS = [
    pytest.param("chat", "openai_compatible", {}, openai, id="chat"),
    pytest.param("completion", "openai_compatible", {}, openai, id="completion"),
    pytest.param("agent-chat", "agent", {"provider": "openai"}, openai, id="agent by OpenAI's protocol"),
    pytest.param("agent-chat", "agent", {"provider": "anthropic"}, anthropic, id="agent by Anthropic's protocol"),
    pytest.param("agent-chat", "agent", {"provider": "google"}, google, id="agent by Google's protocol"),
]


class Asker:
    """Has an app whose provider speaks without end, and ends its answers in one way after the other."""

    def __init__(self, server: LiveServer, provider: FakeOpenAI, mode: Any, configuration: dict[str, Any]) -> None:
        self.server = server
        self._provider = provider
        self._mode = mode
        self._configuration = configuration

    async def ask(self, query: str, **configuration: Any) -> tuple[httpx.AsyncClient, dict[str, str], Received]:
        """Ask; until the provider is asked."""
        client = self.server.client(
            await self.server.new_key(self._mode, configuration=self._configuration | configuration)
        )
        kind = "completion" if self._mode == "completion" else "chat"
        body = chat_body(query, response_mode="async", auto_generate_name=False)
        sent = await client.post(f"/v1/{kind}-messages", json=body)
        assert sent.status_code == 202, sent.text
        accepted: dict[str, str] = sent.json()

        async def is_asked() -> bool:
            return any(query.encode() in received.raw for received in self._provider.requests)

        await until(is_asked, PATIENCE)
        received = next(each for each in self._provider.requests if query.encode() in each.raw)
        return client, accepted, received

    async def hushed(self, sent: dict[str, str]) -> None:
        """All that the provider says is delivered."""

        async def is_so() -> bool:
            recorded = await self.server.running.ledger.read(UUID(sent["message_id"]))
            said = [each.body.text for each in recorded if isinstance(each.body, AnswerChunkAppended)]
            return "".join(said).split() == "".join(WORDS).split()

        await until(is_so, PATIENCE)

    async def names(self, sent: dict[str, str]) -> Sequence[str]:
        recorded = await self.server.running.ledger.read(UUID(sent["message_id"]))
        return [type(envelope.body).__name__ for envelope in recorded]

    async def until(self, sent: dict[str, str], condition: Any) -> None:
        async def is_so() -> bool:
            return bool(condition(await self.names(sent)))

        await until(is_so, PATIENCE)

    async def stopped(self, sent: dict[str, str]) -> Any:
        await self.until(sent, lambda names: names[-1] == "MessageStopped")
        view = await self.server.running.application.views.message(UUID(sent["message_id"]))
        assert view is not None
        return view


async def is_closed(received: Received) -> None:
    """In the middle of it all."""
    await asyncio.wait_for(received.closed.wait(), SOON)
    assert received.sent > 0


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is closed only because it is garbage was not closed."""
    gc.disable()
    yield
    gc.enable()


@ON_SQLITE
@pytest.mark.parametrize(("mode", "generator", "settings", "stream"), KINDS)
async def test_the_providers_connection_is_closed(serve, provider, no_collector, mode, generator, settings, stream):
    provider.then(*(stream() for _ in range(12)))
    is_openai = settings.get("provider", "openai") == "openai"
    base_url = provider.base_url if is_openai else provider.base_url.removesuffix("/v1")
    configuration = {"generator": generator, "settings": {"model": "m", "base_url": base_url, **settings}}
    async with serve() as server:
        asker = Asker(server, provider, mode, configuration)

        # A stop.
        client, sent, received = await asker.ask("stop me")
        await asker.hushed(sent)
        kind = "completion" if mode == "completion" else "chat"
        stopped = await client.post(f"/v1/{kind}-messages/{sent['task_id']}/stop", json={"user": "ada"})
        assert stopped.json() == {"result": "success"}
        view = await asker.stopped(sent)
        await is_closed(received)
        assert (view.stopped_by, view.answer.split()) == ("user", "".join(WORDS).split())

        # A word that may not be said.
        preset = {"enabled": True, "preset_response": "No."}
        avoidance = {"enabled": True, "keywords": FORBIDDEN, "outputs_config": preset}
        _, sent, received = await asker.ask("say it", sensitive_word_avoidance=avoidance)
        await is_closed(received)
        view = await asker.stopped(sent)
        assert (view.stopped_by, view.answer) == ("moderation", "No.")

        # Another worker.
        _, sent, received = await asker.ask("take me over")
        await asker.hushed(sent)
        await server.running.ledger.decide(
            Message, UUID(sent["message_id"]), lambda staged: staged.aggregate.start_attempt("another"), a_context()
        )
        await is_closed(received)

        # The clock.
        _, sent, received = await asker.ask("take your time")
        await asker.hushed(sent)
        worker = server.running.worker
        scope = worker._running[UUID(sent["message_id"])]._scope
        scope.reschedule(asyncio.get_running_loop().time())
        await is_closed(received)
        assert (await asker.stopped(sent)).stopped_by == "timeout"

        # The end of the process, which hands it over.
        _, sent, received = await asker.ask("go on without me")
        await asker.hushed(sent)
        await worker.drain(Grace(0))
        await is_closed(received)
        assert (await asker.names(sent))[-1] == "GenerationRequeued"
