"""One attempt at an answer: gathers what the generator says and commits it under the attempt's fence."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from chatledger.application.context import Context
from chatledger.application.errors import GenerationStoppedError
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.hand_ins import VersionConflictError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.keys import DataKey
from chatledger.application.ports.queue import LiveBus, QueueItem
from chatledger.application.ports.storage import Delete, StorageUnavailableError
from chatledger.domain.errors import DomainError, StopPendingError
from chatledger.domain.events import REGISTRY, StopRequested
from chatledger.domain.message import Message
from chatledger.domain.values import (
    AttachedFile,
    ErrorCode,
    FinishReason,
    ModerationAction,
    ModerationStage,
    RequeueCause,
    Resource,
    StoppedBy,
    Thought,
    Usage,
)

PIECES_BETWEEN_BREATHS = 256

NEARLY_DUE = 0.002
"""Seconds that are not worth a timer."""

MAX_RACES = 200
"""A worker does not pause when it loses a race: it holds text that somebody waits for."""

COURTESY = 0.1
"""Seconds that text waits where somebody else, who lost a race for this message, decides on it again."""

OUTPUT_MODERATION = "output_moderation"
"""Why a text stands in an answer's place."""

MAX_PENDING = 64 * 1024
"""Characters that may wait for a commit before the generator has to."""


class Attempt:
    """Text that arrives while a commit runs gathers into one event; at most one commit of a message runs at a time.

    An append that conflicts folds what came between and decides again: feedback disturbs nothing. Text that lost to a
    request to stop is committed with the end. Only a newer attempt or a terminal event fences it out.
    """

    def __init__(
        self,
        staged: Staged[Message],
        context: Context | int,
        ledger: Ledger,
        bus: LiveBus,
        flush_interval: float,
        clock: Clock,
        longest: int,
    ) -> None:
        self.number = staged.aggregate.attempt
        self.stopped_by: StoppedBy | None = None
        self.is_left = False
        self.has_answered = False
        self.is_overridden = False
        self.pieces = 0
        self.is_full = False
        self._quiet_parts = 0
        self._room_left = longest
        self.first_text_at: float | None = None
        self._clock = clock
        self._staged = staged
        self._context = context
        self._ledger = ledger
        self._bus = bus
        self._flush_interval = flush_interval
        self._loop = asyncio.get_running_loop()
        self._scope: asyncio.Timeout | None = None
        self._pending: list[str] = []
        self._pending_length = 0
        self._commit: asyncio.Future[Any] | None = None
        self._due = 0.0
        self._settled: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None
        self._is_interrupted = False
        self._is_stale = False

    @property
    def message(self) -> Message:
        """The message as this attempt knows it."""
        return self._staged.aggregate

    # What the worker's signals do

    def within(self, scope: asyncio.Timeout | None) -> None:
        """End this scope when the attempt is to end from outside; None where there is nothing left to end."""
        self._scope = scope
        if self._is_interrupted:
            self._interrupt()

    def stop(self, by: StoppedBy) -> None:
        """Ask the producer to end: its next append raises, and a wait for the provider ends at once."""
        if self.stopped_by is None and self._failure is None:
            self.stopped_by = by
            self._interrupt()

    def hear_stop(self, by: StoppedBy, staged: Staged[Message]) -> None:
        """Somebody has asked for the end. ``staged`` is the message off the ledger with that."""
        if self._commit is None and staged.aggregate.version > self.message.version:
            self._staged, self._is_stale = staged, False
        else:
            self._is_stale = True
        self.stop(by)

    def hear_of(self, requested: StopRequested, version: int) -> None:
        """Somebody has asked for the end by this event, at this version of the message."""
        if version == self.message.version + 1 and not self._is_stale:
            # Had something else come before it than text of this attempt, that text conflicts, and all is read anew.
            self.message.fold_on((requested,))
        else:
            self._is_stale = True
        self.stop(requested.by)

    def leave(self) -> None:
        """Ask the producer to end, for another worker to go on."""
        self.is_left = True
        self._interrupt()

    def fail(self, error: Exception) -> None:
        """End the attempt without a further fact: it was fenced out, or the store is in trouble."""
        if self._failure is None:
            self._failure = error
            self._interrupt()

    def require_going_on(self) -> None:
        """Let the producer go on.

        Raises:
            GenerationStoppedError: the attempt is to end from outside.
        """
        if self._is_interrupted:
            self.raise_failure()
            raise GenerationStoppedError

    def raise_failure(self) -> None:
        """Raise what ended the attempt without a fact, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _interrupt(self) -> None:
        self._is_interrupted = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(self._loop.time())

    # What the producer appends

    def append(self, text: str) -> bool:
        """Add to the answer; True if the producer has to wait for :meth:`room` before it goes on, or :attr:`is_full`.

        Raises:
            GenerationStoppedError: the task was stopped.
        """
        if self._is_interrupted:
            self.require_going_on()
        if not text:
            return self.pass_over()
        length = len(text)
        if length >= self._room_left:
            text = text[: self._room_left]
            length = len(text)
            self.is_full = True
        self._room_left -= length
        self._pending.append(text)
        self._pending_length += length
        self.pieces += 1
        if self._commit is None and self._timer is None:
            self._flush_when_due()
        return self.is_full or self._pending_length > MAX_PENDING or self.pieces % PIECES_BETWEEN_BREATHS == 0

    def pass_over(self) -> bool:
        """Take note of a part without text; True if the producer has to wait for :meth:`room` before it goes on."""
        self._quiet_parts += 1
        return self._quiet_parts % PIECES_BETWEEN_BREATHS == 0

    async def room(self) -> None:
        """Let others have their turn and, where too much is pending, the commits catch up."""
        if self._pending_length > MAX_PENDING:
            await self._settle()
            self._flush_now()
        else:
            await asyncio.sleep(0)

    async def retrieve(self, resources: tuple[Resource, ...]) -> None:
        """Note the passages that the answer rests on."""
        await self._record(lambda message: message.record_resources(self.number, resources))

    async def record_thought(self, thought: Thought) -> None:
        """Note how far a step has come."""
        await self._record(lambda message: message.record_thought(self.number, thought))

    async def attach(self, file: AttachedFile) -> None:
        """Add a file that a tool made."""
        await self._record(lambda message: message.attach_file(self.number, file))

    async def note_moderation(self, stage: ModerationStage, action: ModerationAction, query: str | None = None) -> None:
        """Note that something may not be said, and the query that is asked instead."""
        await self._record(lambda message: message.note_moderation(self.number, stage, action, query))

    async def note_overridden(self) -> None:
        """Note, once, that what may be said goes on in the place of what may not."""
        if not self.is_overridden:
            self.is_overridden = True
            await self.note_moderation("output", "overridden")

    async def override(self, text: str) -> None:
        """Put a text that may be said in the place of all that was answered, and of what waits for a commit."""

        def decide(message: Message) -> None:
            message.note_moderation(self.number, "output", "overridden")
            message.replace_answer(self.number, text, OUTPUT_MODERATION)

        self.is_overridden = True
        await self._record(decide, replaces=True)

    # How it ends

    async def complete(self, usage: Usage, finish_reason: FinishReason, key: DataKey) -> None:
        """The answer is whole."""

        def decide(message: Message) -> None:
            message.complete(self.number, usage, finish_reason, key.fingerprint(message.completed_answer.encode()))

        await self._record(decide, ends=True)

    async def end_stopped(self, by: StoppedBy, usage: Usage, key: DataKey) -> None:
        """The generation was ended from outside; what was delivered stays."""

        def decide(message: Message) -> None:
            message.stop(self.number, by, usage, key.fingerprint(message.answer.encode()))

        await self._record(decide, ends=True)

    async def answer_directly(
        self, note: Callable[[Message], None], text: str, finish_reason: FinishReason, key: DataKey
    ) -> None:
        """The whole answer is this, for the reason that is noted, and cost nothing."""

        def decide(message: Message) -> None:
            note(message)
            message.append_chunk(self.number, text)
            message.complete(self.number, Usage(), finish_reason, key.fingerprint(message.completed_answer.encode()))

        await self._record(decide, ends=True)

    async def end_moderated(self, text: str, usage: Usage, key: DataKey) -> None:
        """The answer may not be said: this stands in its place, and of what waits for a commit."""

        def decide(message: Message) -> None:
            message.note_moderation(self.number, "output", "direct_output")
            message.replace_answer(self.number, text, OUTPUT_MODERATION)
            message.stop(self.number, "moderation", usage, key.fingerprint(message.answer.encode()))

        await self._record(decide, ends=True, replaces=True)

    async def end_failed(self, code: ErrorCode, reason: str) -> None:
        """The generation failed for good."""
        await self._record(lambda message: message.fail(self.number, code, reason), ends=True)

    async def requeue(self, cause: RequeueCause, detail: str, not_before: datetime) -> None:
        """Leave the message to a later attempt.

        Raises:
            StopPendingError: somebody asked for the end of the generation meanwhile.
        """
        await self._record(lambda message: message.requeue(self.number, cause, detail, not_before), ends=True)

    # Committing

    def _flush_when_due(self) -> None:
        if self.first_text_at is None:
            self.first_text_at = self._clock.monotonic()
        wait = self._due - self._loop.time()
        if self.has_answered and self._ledger.is_contended(self.message.id):
            wait = max(wait, COURTESY)
        if wait <= NEARLY_DUE:
            self._flush_now()
        else:
            self._timer = self._loop.call_later(wait, self._flush_now)

    def _flush_now(self) -> None:
        self._cancel_timer()
        if self._commit is not None or not self._pending or self._failure is not None:
            return
        if self.stopped_by is not None:  # it goes with the end, which would wait for it
            return
        self._set_next_due()
        text = self._take_pending()
        try:
            self.message.append_chunk(self.number, text)
            self._commit = self._ledger.hand_in(self._staged, context=self._context)
        except (DomainError, StorageUnavailableError) as error:
            self.fail(error)
            return
        self._commit.add_done_callback(lambda commit: self._flushed(commit, text))

    def _set_next_due(self) -> None:
        """Flushes stand on a grid: did each count from the end of the last commit, they would come ever later."""
        now = self._loop.time()
        self._due = max((self._due or now) + self._flush_interval, now)

    def _flushed(self, commit: "asyncio.Future[Any]", text: str) -> None:
        self._take_note(commit, text)
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _take_note(self, commit: "asyncio.Future[Any]", text: str) -> None:
        if commit.cancelled():
            self._commit = None
            return
        error = commit.exception()
        if isinstance(error, VersionConflictError):
            self._commit = self._loop.create_task(self._decide_again(text))
            self._commit.add_done_callback(lambda again: self._flushed(again, text))
            return
        self._commit = None
        if isinstance(error, Exception):
            self.fail(error)
            return
        if not (envelopes := commit.result()):
            return
        self.has_answered = True
        self._publish(envelopes)
        if self._pending:
            self._flush_when_due()

    async def _decide_again(self, text: str) -> Sequence[Envelope]:
        """Hand in text once more; where the race was lost to a request to stop, the text goes with the end."""
        await self._reload()
        by = self.message.stop_requested_by
        if by is None or self._failure is not None:
            return await self._hand_in(lambda message: message.append_chunk(self.number, text))
        self._put_back(text)
        self.stop(by)
        return ()

    async def _record(self, decide: Callable[[Message], None], *, ends: bool = False, replaces: bool = False) -> None:
        """Commit the pending text together with what ``decide`` records, or drop it where that ``replaces`` it."""
        if replaces:  # else it would be committed as soon as the commit that runs has ended
            self._take_pending()
        await self._settle()
        text = self._take_pending()
        if replaces:  # this has lost to a request to stop meanwhile
            text = ""

        def both(message: Message) -> None:
            if text:
                message.append_chunk(self.number, text)
            decide(message)

        try:
            envelopes = await self._hand_in(both, ends=ends)
        except StopPendingError:  # the text goes with the end that this asks for
            self._put_back(text)
            raise
        self.has_answered = self.has_answered or bool(text)
        self._publish(envelopes)

    async def _hand_in(self, decide: Callable[[Message], None], *, ends: bool = False) -> Sequence[Envelope]:
        changes = [Delete("leases", {"message_id": self.message.id, "attempt": self.number})] if ends else []
        for _ in range(MAX_RACES):
            if self._is_stale:
                await self._reload()
            # Where ``decide`` raises, some of it is in the message. Whoever is cancelled or refused further below does
            # not know what the ledger holds: equal versions prove nothing.
            self._is_stale = True
            decide(self.message)
            with suppress(VersionConflictError):
                envelopes = await self._ledger.hand_in(self._staged, context=self._context, changes=changes)
                self._is_stale = False
                return envelopes
        raise VersionConflictError(str(self.message.id))

    async def _reload(self) -> None:
        staged = await self._ledger.load(Message, self.message.id)
        if staged is None:
            raise LookupError(str(self.message.id))
        self._staged, self._is_stale = staged, False

    async def _settle(self) -> None:
        self._cancel_timer()
        while self._commit is not None:
            self._settled = self._loop.create_future()
            await self._settled
            self._cancel_timer()
        self.raise_failure()

    def _take_pending(self) -> str:
        text = "".join(self._pending)
        self._pending.clear()
        self._pending_length = 0
        return text

    def _put_back(self, text: str) -> None:
        if text:
            self._pending.insert(0, text)
            self._pending_length += len(text)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _publish(self, envelopes: Sequence[Envelope]) -> None:
        message, newest = self.message, envelopes[-1]
        created = message.created
        self._bus.publish(
            QueueItem(
                task_id=created.task_id,
                message_id=message.id,
                conversation_id=created.conversation_id,
                mode=created.mode,
                event=REGISTRY.of(type(newest.body)).name,
                source="application",
                version=newest.version,
                attempt=self.number,
            )
        )
