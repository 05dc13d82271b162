"""Random histories of a conversation, and whoever follows it or one of its messages, from wherever, while it grows.

What a follower has to be shown is worked out beside it from the streams themselves, read whole and put in order of
position: pages, tails and notices have no part in that.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.adapters.http.conversation_rendering import ConversationRendering
from chatledger.adapters.http.files import stable_links
from chatledger.adapters.http.rendering import Rendering
from chatledger.adapters.queue.in_process import InProcessLiveBus
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger import tail as tails
from chatledger.application.ledger.ledger import Staged
from chatledger.application.ledger.tail import ConversationTail, Tail
from chatledger.application.ports.queue import QueueItem
from chatledger.application.queries import following, following_conversations, listening, pages
from chatledger.application.queries.following import Following
from chatledger.application.queries.listening import up_to_end
from chatledger.application.system_clock import new_id
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import DomainError
from chatledger.domain.events import REGISTRY
from chatledger.domain.message import Message
from chatledger.domain.values import AttachedFile, Resource, Thought, Usage
from tests.persistence.stores import a_question
from tests.properties.conftest import Place

DEADLINE = 20.0
LATER = datetime(2031, 5, 6, tzinfo=UTC)
LINK = stable_links("/v1")
MADE = AttachedFile(file_id=UUID(int=2), kind="image", transfer_method="tool_file", belongs_to="assistant", size=1)
SHOWN = {"shows_resources": True, "link": LINK}


class Talk:
    """One conversation on a real ledger, and who follows it."""

    def __init__(self, place: Place, *, is_alone: bool) -> None:
        """``is_alone``: whether followers may rely on having been told of all that they are woken for."""
        self.place = place
        self.views = place.views
        self.bus, tail, conversation_tail = InProcessLiveBus(), Tail(), ConversationTail()
        lookout = listening.Lookout(place.store.ledger.head, is_alone=is_alone)
        self.following = Following(place.ledger, place.views, tail, conversation_tail, self.bus, lookout)
        self.observers = (lookout.committed, tail.committed, conversation_tail.committed)
        for observer in self.observers:
            place.ledger._writer.observe(observer)
        self.messages: list[Staged[Message]] = []
        self.whole: list[tuple[int, UUID, bytes]] | None = None
        self.versions: dict[UUID, int] = {}
        self.attending: list[tuple[UUID, asyncio.Task[bytes]]] = []
        self.live: list[tuple[int, asyncio.Task[bytes]]] = []

    def leave(self) -> None:
        for observer in self.observers:
            self.place.ledger._writer._observers.remove(observer)

    async def begin(self) -> None:
        key = self.place.store.keyring.new_key(None)
        conversation = Conversation.start(
            new_id(), app_id=new_id(), end_user_id=new_id(), hidden=False, name="", inputs={}, introduction=""
        )
        self.conversation = Staged(conversation, key.key_id)
        await self.hand_in(self.conversation, new_keys=[key])

    async def hand_in(self, *staged: Staged[Any], **more: Any) -> list[Any]:
        context = Context(actor=SYSTEM, correlation_id=new_id())
        return await self.place.ledger.hand_in(*staged, context=context, **more)

    async def take(self, step: tuple[str, int, str, bool]) -> None:
        """One step of the history. What the rules do not let happen does not happen."""
        kind, which, text, is_told = step
        match kind:
            case "ask":
                asked = a_question(conversation_id=self.conversation.aggregate.id, mode="agent-chat")
                self.messages.append(Staged(Message.create(new_id(), asked), self.conversation.key_id))
                await self.hand_in(self.messages[-1])
            case "elsewhere":
                key = self.place.store.keyring.new_key(None)
                await self.hand_in(Staged(Message.create(new_id(), a_question()), key.key_id), new_keys=[key])
            case "rename":
                self.conversation.aggregate.rename(text)
                await self.hand_in(self.conversation)
            case "attend" if self.messages:
                message_id = self.messages[-1 - which % len(self.messages)].aggregate.id
                self.attending.append((message_id, asyncio.create_task(self.follow_message(message_id))))
                await asyncio.sleep(0)
            case "follow":
                head = (await self.place.store.ledger.head()).position
                after = which * head // 11
                self.live.append((after, asyncio.create_task(self.follow(after))))
                await asyncio.sleep(0)
            case _ if self.messages:
                await self.act(kind, self.messages[-1 - which % min(3, len(self.messages))], text, is_told=is_told)

    async def act(self, kind: str, staged: Staged[Message], text: str, *, is_told: bool) -> None:
        message = staged.aggregate
        attempt = message.attempt
        acts: dict[str, Callable[[], object]] = {
            "start": lambda: message.start_attempt("w", "reset" if text else "continue", len(message.answer) // 2),
            "say": lambda: message.append_chunk(attempt, text or "a"),
            "replace": lambda: message.replace_answer(attempt, text, "output_moderation"),
            "think": lambda: message.record_thought(attempt, Thought(thought_id=UUID(int=1), position=1, thought=text)),
            "attach": lambda: message.attach_file(attempt, MADE),
            "retrieve": lambda: message.record_resources(attempt, [Resource(position=1, content=text)]),
            "requeue": lambda: message.requeue(attempt, "internal_server_error", "", LATER),
            "rate": lambda: message.give_feedback("user", "like", text),
            "stop": lambda: message.stop(attempt, "user", Usage(), ""),
            "fail": lambda: message.fail(attempt, "completion_request_error", text),
            "complete": lambda: message.complete(attempt, Usage(), "stop", ""),
        }
        with suppress(DomainError):
            acts[kind]()
        if message._pending:
            envelopes = await self.hand_in(staged)
            if is_told:
                self.bus.publish(_item(staged, REGISTRY.of(type(envelopes[-1].body)).name))

    async def follow(self, after: int) -> bytes:
        """What a follower of the conversation is shown, until it has what it is due and hears no more."""
        rendering = ConversationRendering(**SHOWN, after=after)
        shown = b""
        with self.following.follow_conversation(self.conversation.aggregate.id) as follower:
            async for batch in follower.batches(after):
                shown += rendering.render(batch)
                if self.whole is not None and not batch and len(shown) >= len(_after(self.whole, after)):
                    return shown
        raise AssertionError("the stream ended by itself")

    async def follow_message(self, message_id: UUID, after: int = 0) -> bytes:
        """The same of one message: to its end, or until the history is over and there is no more."""
        shown, rendering = b"", None
        with self.following.follow(message_id) as follower:
            async for batch in follower.batches(after, whole=True):
                if rendering is None:
                    rendering = Rendering(message_id, batch[0], **SHOWN, gives_ids=True, after=after)
                shown += rendering.render(batch)
                if self.whole is not None and not batch and follower.version == self.versions[message_id]:
                    break
        return shown

    async def due(self) -> list[tuple[int, UUID, bytes]]:
        """What there is to show of all messages: the position of each event that shows something, and its frames."""
        streams = {staged.aggregate.id: await self.place.ledger.read(staged.aggregate.id) for staged in self.messages}
        renderings = {one: Rendering(one, envelopes[0], **SHOWN) for one, envelopes in streams.items()}
        envelopes = [envelope for stream in streams.values() for envelope in up_to_end(stream)[0]]
        envelopes.sort(key=lambda envelope: envelope.position)
        shown = [
            (envelope.position, envelope.stream_id, renderings[envelope.stream_id].frames_of(envelope))
            for envelope in envelopes
        ]
        return [one for one in shown if one[2]]


def _item(staged: Staged[Message], event: str) -> QueueItem:
    created = staged.aggregate.created
    return QueueItem(
        task_id=created.task_id,
        message_id=staged.aggregate.id,
        conversation_id=created.conversation_id,
        mode=created.mode,
        event=event,
        source="application",
    )


def _after(due: list[tuple[int, UUID, bytes]], position: int) -> bytes:
    return b"".join(b"%sid: %d\n\n" % (frames, at) for at, _, frames in due if at > position)


OFTEN = (
    "say",
    "say",
    "say",
    "say",
    "start",
    "start",
    "ask",
    "follow",
    "attend",
    "complete",
    "rate",
    "requeue",
    "replace",
)
KINDS = (*OFTEN, "think", "attach", "retrieve", "stop", "fail", "rename", "elsewhere")
steps = st.tuples(
    st.sampled_from(KINDS), st.integers(0, 11), st.text(st.sampled_from("ab𝄞"), max_size=4), st.booleans()
)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that short histories have many pages, and a tail lets events go."""
    monkeypatch.setattr(following_conversations, "MESSAGES_AT_ONCE", 2)
    for module in (following, following_conversations, pages):
        monkeypatch.setattr(module, "EVENTS_AT_ONCE", 3)
    monkeypatch.setattr(tails, "MAX_CHARACTERS", 5 * tails.ENVELOPE)
    monkeypatch.setattr(listening, "SILENCE", 0.02)


@pytest.mark.usefixtures("small_pages")
def test_every_follower_is_shown_exactly_the_rest(place: Place) -> None:
    seen: Counter[str] = Counter()

    async def run(history: list[tuple[str, int, str, bool]], points: list[int], *, is_alone: bool) -> None:
        talk = Talk(place, is_alone=is_alone)
        try:
            await talk.begin()
            for step in (("ask", 0, "", True), ("start", 0, "", True), *history):
                await talk.take(step)
            due, head = await talk.due(), (await place.store.ledger.head()).position
            talk.versions = {staged.aggregate.id: staged.aggregate.version for staged in talk.messages}
            talk.whole = due
            ids = [at for at, _, _ in due]
            async with asyncio.timeout(DEADLINE):
                # Ids that the stream gave, and positions that are anything.
                for after in (0, *(ids[point % len(ids)] for point in points if ids), head - points[0] % 40):
                    assert await talk.follow(max(0, after)) == _after(due, max(0, after))
                for after, task in talk.live:
                    assert await task == _after(due, after)
                await _messages_alone(talk, due)
            seen["live"] += len(talk.live)
            seen["interleaved"] += any(a[1] != b[1] for a, b in pairwise(due))
            seen["replaced"] += any(b"message_replace" in frames for _, _, frames in due)
        finally:
            for _, task in (*talk.live, *talk.attending):
                task.cancel()
            talk.leave()

    @settings(max_examples=15, deadline=None)
    @given(
        st.lists(steps, min_size=10, max_size=40), st.lists(st.integers(0, 999), min_size=1, max_size=4), st.booleans()
    )
    def histories(history: list[tuple[str, int, str, bool]], points: list[int], is_alone: bool) -> None:
        place.runner.run(run(history, points, is_alone=is_alone))

    histories()
    assert min(seen["live"], seen["interleaved"], seen["replaced"]) > 0, seen


async def _messages_alone(talk: Talk, due: list[tuple[int, UUID, bytes]]) -> None:
    """The stream of each message, and what is left of it after every id that it gives."""
    for staged in talk.messages:
        message_id = staged.aggregate.id
        envelopes = up_to_end(await talk.place.ledger.read(message_id))[0]
        versions = {envelope.position: envelope.version for envelope in envelopes}
        own = [(versions[at], frames) for at, of, frames in due if of == message_id]
        blocks = [(at, b"%sid: %s:%d\n\n" % (frames, str(message_id).encode(), at)) for at, frames in own]
        for task in (talk.follow_message(message_id), *(task for of, task in talk.attending if of == message_id)):
            assert await task == b"".join(block for _, block in blocks)
        last = blocks[-1:]
        assert await talk.follow_message(message_id, last[0][0] - 1 if last else 0) == b"".join(b for _, b in last)
        for after in (0, *versions.values()):
            rendering = Rendering(message_id, envelopes[0], **SHOWN, gives_ids=True, after=after)
            assert rendering.render(envelopes) == b"".join(block for at, block in blocks if at > after)
