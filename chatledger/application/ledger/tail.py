"""The newest events of the messages that somebody in this process follows."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from uuid import UUID

from chatledger.application.ledger.envelope import Envelope
from chatledger.domain.events import (
    AgentThoughtRecorded,
    AnswerChunkAppended,
    AnswerReplaced,
    FeedbackGiven,
    MessageCreated,
    MessageErrored,
    ResourcesRetrieved,
)

MAX_CHARACTERS = 256 * 1024

ENVELOPE = 512
"""What an event counts for beside its text."""


class _Held:
    __slots__ = ("characters", "envelopes", "followers")

    def __init__(self) -> None:
        self.envelopes: deque[Envelope] = deque()
        self.characters = 0
        self.followers = 0


class Tail:
    """One copy of each event, whatever the number of followers.

    Bounded per message: past the bound the oldest events are let go, and a follower that is still behind them reads
    the ledger instead. So a slow follower costs no memory and slows nobody.
    """

    def __init__(self) -> None:
        self._held: dict[UUID, _Held] = {}

    @contextmanager
    def follow(self, message_id: UUID) -> Iterator[None]:
        """Hold on to the events of this message while inside."""
        held = self._held.setdefault(message_id, _Held())
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
            if held is None:
                continue
            held.envelopes.append(envelope)
            held.characters += _size(envelope)
            while held.characters > MAX_CHARACTERS and len(held.envelopes) > 1:
                held.characters -= _size(held.envelopes.popleft())

    def after(self, message_id: UUID, version: int) -> list[Envelope] | None:
        """The events after a version, or None where the ledger has to be asked."""
        held = self._held.get(message_id)
        if held is None or not held.envelopes or held.envelopes[0].version > version + 1:
            return None
        newer = list(takewhile(lambda envelope: envelope.version > version, reversed(held.envelopes)))
        newer.reverse()
        return newer


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
