"""What operators look over: messages that ended as errored, and what became of each of their attempts."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from chatledger.application.accepting import MAX_PAGE, accept_number
from chatledger.application.caller import Auditor, Reader
from chatledger.application.errors import NotFoundError
from chatledger.application.ledger.envelope import Envelope, to_microseconds
from chatledger.application.ports.dead_letters import DeadLetter, DeadLetterViews, WantedLetters
from chatledger.application.ports.views import Page
from chatledger.domain.events import GenerationRequeued, GenerationStarted, MessageErrored
from chatledger.domain.values import ErrorCode, ReadSubject

NoteRead = Callable[[Reader, ReadSubject, UUID], Awaitable[None]]

AttemptOutcome = Literal["failed", "handed_over", "taken_over"]
"""How an attempt ended: by a failure; with a worker that was told to go; with one that died or was too slow."""


class PastAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt. Times are microseconds since the epoch.

    Attributes:
        code: of its failure; ``detail`` is what there is to say about it, perhaps in a provider's words.
        not_before: when the next attempt might start, where it had to wait.
    """

    attempt: int
    worker: str
    started_at: int
    ended_at: int
    outcome: AttemptOutcome
    code: ErrorCode | None = None
    detail: str | None = None
    not_before: int | None = None


class DeadLetterDetail(msgspec.Struct, frozen=True):
    """A dead letter, why it is one, and its attempts in their order. ``reason`` may be a provider's words."""

    letter: DeadLetter
    reason: str
    attempts: tuple[PastAttempt, ...]


class DeadLetters:
    """The queries of the dead-letter list.

    Args:
        views: the list.
        read: the events of a message.
        note: puts on record who is about to read what other people were answered.
    """

    def __init__(
        self,
        views: DeadLetterViews,
        read: Callable[[UUID], Awaitable[Sequence[Envelope]]],
        note: NoteRead | None = None,
    ) -> None:
        self._views = views
        self._read = read
        self._note = note

    async def page(self, wanted: WantedLetters, page: Page) -> tuple[Sequence[DeadLetter], bool]:
        """Some of them, the last that ended first, and whether more follow.

        Raises:
            InvalidParameterError: a page is not that long.
            NotFoundError: what it goes on from is none of them.
        """
        accept_number("limit", page.limit, 1, MAX_PAGE)
        found = await self._views.dead_letters(wanted, page)
        if found is None:
            raise NotFoundError("dead_letter")
        return found

    async def show(self, message_id: UUID, auditor: Auditor | None = None) -> DeadLetterDetail:
        """One of them, with its attempts, whose failures may be told in a provider's words.

        Args:
            message_id: which.
            auditor: who looks; None for whoever reads the store beside a server, where nothing can be recorded.

        Raises:
            NotFoundError: there is no such message, or it did not end as errored.
            KeyDestroyedError: it has been erased.
        """
        letter = await self._views.dead_letter(message_id)
        if letter is None:
            raise NotFoundError("dead_letter")
        if self._note is not None and auditor is not None:
            await self._note(auditor, "message", message_id)
        envelopes = await self._read(message_id)
        _, errored = failure_in(envelopes)
        return DeadLetterDetail(letter, errored.message, tuple(_attempts(envelopes)))


def failure_in(envelopes: Sequence[Envelope]) -> tuple[UUID, MessageErrored]:
    """The event that ended a message as errored, with its id.

    Raises:
        NotFoundError: it did not end so.
    """
    for envelope in reversed(envelopes):
        if isinstance(envelope.body, MessageErrored):
            return envelope.event_id, envelope.body
    raise NotFoundError("dead_letter")


def _attempts(envelopes: Iterable[Envelope]) -> Iterator[PastAttempt]:
    started: Envelope | None = None
    for envelope in envelopes:
        if started is not None and (ended := _end(started, envelope)):
            yield ended
            started = None
        if isinstance(envelope.body, GenerationStarted):
            started = envelope


def _end(started: Envelope, envelope: Envelope) -> PastAttempt | None:
    """What an event says about the end of the open attempt, if it ends it."""
    if not isinstance(started.body, GenerationStarted):
        return None
    past = PastAttempt(
        attempt=started.body.attempt,
        worker=started.body.worker,
        started_at=started.recorded_at,
        ended_at=envelope.recorded_at,
        outcome="taken_over",
    )
    match envelope.body:
        case GenerationStarted():
            return past
        case GenerationRequeued(cause="handed_over"):
            return replace(past, outcome="handed_over")
        case GenerationRequeued() as failed:
            not_before = to_microseconds(failed.not_before)
            return replace(past, outcome="failed", code=failed.cause, detail=failed.detail, not_before=not_before)
        case MessageErrored() as failed:
            return replace(past, outcome="failed", code=failed.code, detail=failed.message)
        case _:
            return None
