"""The newest events of the messages and of the conversations that somebody in this process follows."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from itertools import takewhile
from uuid import UUID

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.erasure import IsGone
from chatledger.domain.events import (
    TERMINAL_EVENTS,
    AgentThoughtRecorded,
    AnswerChunkAppended,
    AnswerReplaced,
    ConversationDeleted,
    FeedbackGiven,
    MessageCreated,
    MessageErrored,
    ResourcesRetrieved,
)

MAX_CHARACTERS = 256 * 1024

ENVELOPE = 512
"""What an event counts for beside its text."""


class _Held:
    """The newest events of one message or conversation, within the bound."""

    __slots__ = ("characters", "envelopes", "followers")

    def __init__(self) -> None:
        self.envelopes: deque[Envelope] = deque()
        self.characters = 0
        self.followers = 0

    def add(self, envelope: Envelope) -> None:
        """Hold on to one more, and let the oldest go where they are too many."""
        self.envelopes.append(envelope)
        self.characters += _size(envelope)
        while self.characters > MAX_CHARACTERS and len(self.envelopes) > 1:
            self.let_go()

    def let_go(self) -> Envelope:
        """Let the oldest go."""
        oldest = self.envelopes.popleft()
        self.characters -= _size(oldest)
        return oldest

    def has_end(self) -> bool:
        """Whether the terminal event is among them: little comes after it."""
        return any(isinstance(envelope.body, TERMINAL_EVENTS) for envelope in reversed(self.envelopes))

    def clear(self) -> None:
        """Let all go."""
        self.envelopes.clear()
        self.characters = 0

    def has_gone(self, is_gone: IsGone) -> bool:
        """Whether the key of one of them is gone: they share one, or two."""
        return any(map(is_gone, {envelope.key_id for envelope in self.envelopes}))

    def while_newer(self, is_newer: Callable[[Envelope], bool]) -> list[Envelope]:
        """The last ones, as far back as they are newer."""
        newer = list(takewhile(is_newer, reversed(self.envelopes)))
        newer.reverse()
        return newer


class _HeldMessage(_Held):
    """Those of one message.

    Attributes:
        newest: the version of the last one that it was given; 0 where there was none.
    """

    __slots__ = ("newest",)

    def __init__(self) -> None:
        super().__init__()
        self.newest = 0

    def add(self, envelope: Envelope) -> None:
        """Hold on to one more, alone where nobody here was told of those right before it."""
        if envelope.version != self.newest + 1:
            self.clear()
        self.newest = envelope.version
        super().add(envelope)


class Tail:
    """One copy of each event, whatever the number of followers, and no hole between two that are held.

    Bounded per message: past the bound the oldest events are let go, and a follower that is still behind them reads
    the ledger instead. So a slow follower costs no memory and slows nobody.
    """

    def __init__(self) -> None:
        self._held: dict[UUID, _HeldMessage] = {}

    @contextmanager
    def follow(self, message_id: UUID) -> Iterator[None]:
        """Hold on to the events of this message while inside."""
        held = self._held.setdefault(message_id, _HeldMessage())
        held.followers += 1
        try:
            yield
        finally:
            held.followers -= 1
            if not held.followers:
                del self._held[message_id]

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        for envelope in envelopes:
            held = self._held.get(envelope.stream_id)
            if held is not None:
                held.add(envelope)

    def forget_erased(self, is_gone: IsGone) -> None:
        """Let go of what is sealed under keys that are gone: whoever follows it finds on the ledger what is left."""
        for held in self._held.values():
            if held.has_gone(is_gone):
                held.clear()

    def awaited(self) -> AbstractSet[UUID]:
        """The messages that somebody follows and whose end has not come to pass meanwhile; before that, it may have."""
        return {message_id for message_id, held in self._held.items() if not held.has_end()}

    def after(self, message_id: UUID, version: int) -> list[Envelope] | None:
        """The events after a version, or None where the ledger has to be asked."""
        held = self._held.get(message_id)
        if held is None or not held.envelopes or held.envelopes[0].version > version + 1:
            return None
        return held.while_newer(lambda envelope: envelope.version > version)

    def newest(self, message_id: UUID) -> int:
        """The last version of a followed message that this process was told of; 0 where there was none."""
        held = self._held.get(message_id)
        return 0 if held is None else held.newest


class _HeldConversation(_Held):
    """Those of all messages of a conversation, and its deletion.

    Attributes:
        under_way: the messages that it knows and whose end it has not seen.
        complete_after: of the events after this position none is missing.
    """

    __slots__ = ("complete_after", "under_way")

    def __init__(self, complete_after: int) -> None:
        super().__init__()
        self.under_way: set[UUID] = set()
        self.complete_after = complete_after

    def let_go(self) -> Envelope:
        """Let the oldest go."""
        oldest = super().let_go()
        self.complete_after = oldest.position
        return oldest

    def begin_anew(self, complete_after: int) -> None:
        """Hold nothing: something after what is held so far may be missing."""
        self.clear()
        self.complete_after = complete_after


class ConversationTail:
    """The same by conversation: bounded, one copy for all followers, and never with a hole in it.

    An event names its message, not its conversation. So the tail has to know the messages: those that begin while it
    is held tell it by themselves, those under way before that by whoever has found them.
    """

    def __init__(self) -> None:
        self._held: dict[UUID, _HeldConversation] = {}
        self._of_message: dict[UUID, _HeldConversation] = {}
        self._told = 0

    @contextmanager
    def follow(self, conversation_id: UUID) -> Iterator[None]:
        """Hold on to the events of this conversation while inside."""
        held = self._held.setdefault(conversation_id, _HeldConversation(self._told))
        held.followers += 1
        try:
            yield
        finally:
            held.followers -= 1
            if not held.followers:
                del self._held[conversation_id]
                for message_id in held.under_way:
                    del self._of_message[message_id]

    def forget_erased(self, is_gone: IsGone) -> None:
        """Let go of what is sealed under keys that are gone: whoever follows it finds on the ledger what is left."""
        for held in self._held.values():
            if held.has_gone(is_gone):
                held.begin_anew(self._told)

    def know(self, conversation_id: UUID, message_ids: AbstractSet[UUID]) -> None:
        """These messages of a conversation are under way. Of one that was unknown, events may be missing."""
        held = self._held.get(conversation_id)
        if held is None:
            return
        for message_id in message_ids - held.under_way:
            held.under_way.add(message_id)
            self._of_message[message_id] = held
            held.begin_anew(self._told)

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        before, self._told = self._told, envelopes[-1].position
        if not self._held:
            return
        if self._told != before + len(envelopes):
            # Others have committed in between, and told nobody here.
            for held in self._held.values():
                held.begin_anew(self._told)
            return
        for envelope in envelopes:
            self._take(envelope)

    def _take(self, envelope: Envelope) -> None:
        body, message_id = envelope.body, envelope.stream_id
        held = self._of_message.get(message_id)
        if held is None:
            if isinstance(body, MessageCreated) and (held := self._held.get(body.conversation_id)) is not None:
                held.under_way.add(message_id)
                self._of_message[message_id] = held
            elif isinstance(body, ConversationDeleted):
                held = self._held.get(envelope.stream_id)
        if held is not None:
            held.add(envelope)
            if isinstance(body, TERMINAL_EVENTS):
                held.under_way.remove(message_id)
                del self._of_message[message_id]

    def after(self, conversation_id: UUID, position: int) -> list[Envelope] | None:
        """The events after a position, or None where the ledger has to be asked."""
        held = self._held.get(conversation_id)
        if held is None or position < held.complete_after:
            return None
        return held.while_newer(lambda envelope: envelope.position > position)


def _size(envelope: Envelope) -> int:
    """About what an envelope holds on to, in characters."""
    body = envelope.body
    match body:
        case (
            AnswerChunkAppended(_, text)
            | AnswerReplaced(text=text)
            | MessageCreated(query=text)
            | MessageErrored(message=text)
        ):
            return ENVELOPE + len(text)
        case AgentThoughtRecorded():
            return ENVELOPE + len(body.thought) + len(body.tool_input) + len(body.observation)
        case FeedbackGiven(content=content):
            return ENVELOPE + len(content or "")
        case ResourcesRetrieved(resources=resources):
            return ENVELOPE + sum(ENVELOPE + len(resource.content or "") for resource in resources)
        case _:
            return ENVELOPE
