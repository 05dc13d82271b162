"""Making the read models anew from the ledger, beside the live ones and while everybody goes on."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from chatledger.application.errors import ClosedError, RebuildRunningError
from chatledger.application.fault_report import describe
from chatledger.application.ledger.catching_up import catch_up
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ledger.projections import Projections
from chatledger.application.ledger.rebuild import Progress, Replay
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.read_models import ComparedTable, ReadModels, Successors
from chatledger.application.ports.storage import Change, Transaction

log = logging.getLogger(__name__)

PAGE = 4_000
"""Events that are replayed at a time. What they do to one row is written once."""

PAGE_BYTES = 16 * 1024 * 1024
"""Of their bodies, as they are stored: a page ends once it has so many, or that many events."""

NEAR = 200
"""Events that are left to be replayed under the ledger's lock."""

RebuildState = Literal["none", "replaying", "comparing", "switching", "clearing", "completed", "failed"]


class RebuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a rebuild.

    Attributes:
        events: how many were replayed.
        position: the one at which the old read models were compared with the new ones.
        differences: rows that the old ones had wrong, lacked, or had for nothing. The new ones are in their place.
        seconds: from the beginning to the end.
        seconds_under_lock: for how long no commit could take place, in two pieces.
        tables: each read model, as it was found.
    """

    events: int
    position: int
    differences: int
    seconds: float
    seconds_under_lock: float
    tables: Sequence[ComparedTable]


class RebuildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far the newest rebuild of this process has come.

    Attributes:
        done: positions that were replayed.
        total: positions in all, as far as is known.
        started_at: microseconds since the epoch; None where there was none.
        ended_at: the same.
        report: of a completed one.
        error: why it failed; then the read models are as they were.
    """

    state: RebuildState
    done: int = 0
    total: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    report: RebuildReport | None = None
    error: str | None = None


class Rebuilding:
    """The use cases of whoever doubts the read models.

    Args:
        read_models: of this ledger.
        codec: opens its events.
        projections: what they change.
        clock: tells how long it takes.
        mended: called when read models that differed have been replaced: what was remembered of them is to be
            forgotten.
    """

    def __init__(
        self,
        read_models: ReadModels,
        codec: EventCodec,
        projections: Projections,
        clock: Clock,
        mended: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._read_models = read_models
        self._codec = codec
        self._projections = projections
        self._clock = clock
        self._mended = mended
        self._task: asyncio.Task[RebuildReport] | None = None
        self._is_closed = False
        self._status = RebuildStatus(state="none")

    @property
    def status(self) -> RebuildStatus:
        """How far the newest rebuild has come."""
        return self._status

    def start(self, progress: Progress = lambda _done, _total: None) -> "asyncio.Task[RebuildReport]":
        """Begin a rebuild; the task gives its report, and may be cancelled: the read models are then as they were.

        Cancelled in the very moment of the switch they may be the new ones.

        Raises:
            RebuildRunningError: one is under way.
            ClosedError: nothing is begun any more.
        """
        if self._is_closed:
            raise ClosedError
        if self._task is not None and not self._task.done():
            raise RebuildRunningError("A rebuild of the read models is under way.")
        self._status = RebuildStatus(state="replaying", started_at=self._now())
        self._task = asyncio.create_task(self._run(progress))
        self._task.add_done_callback(_look_at)
        return self._task

    async def rebuild(self, progress: Progress = lambda _done, _total: None) -> RebuildReport:
        """Make all read models anew, of whatever version they were.

        Raises:
            RebuildRunningError: one is under way.
            ReadersInTheWayError: others have been reading the read models for too long.
            StorageUnavailableError: the store is in trouble otherwise.
            ClosedError: chatledger is being closed.
        """
        try:
            return await self.start(progress)
        except asyncio.CancelledError:
            if self._is_closed:
                raise ClosedError from None
            raise

    async def close(self) -> None:
        """Break off what is under way."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, progress: Progress) -> RebuildReport:
        began = self._clock.monotonic()
        try:
            report = await self._rebuild(progress)
        except BaseException as error:
            reason = "broken off" if isinstance(error, asyncio.CancelledError) else describe(error)
            self._note(state="failed", ended_at=self._now(), error=reason)
            log.warning("the read models were not made anew: %s", reason)
            raise
        report = msgspec.structs.replace(report, seconds=self._clock.monotonic() - began)
        self._note(state="completed", ended_at=self._now(), report=report)
        log.info("the read models were made anew from %d events; %d rows differed", report.events, report.differences)
        return report

    async def _rebuild(self, progress: Progress) -> RebuildReport:
        replay = Replay(self._codec, self._projections)
        async with self._read_models.successors() as successors:
            await self._catch_up(successors, replay, progress)
            under_lock = await successors.join(lambda locked: self._last_changes(replay, locked))
            events = replay.position
            self._note(state="comparing", done=events, total=events)
            comparison = await successors.compare()
            self._note(state="switching")
            try:
                under_lock += await successors.switch()
            finally:  # who breaks it off does not know whether it came so far
                if comparison.differences:
                    for forget in self._mended:
                        forget()
            self._note(state="clearing")
        progress(events, events)
        return RebuildReport(
            events=events,
            position=comparison.position,
            differences=comparison.differences,
            seconds=0.0,
            seconds_under_lock=under_lock,
            tables=comparison.tables,
        )

    async def _catch_up(self, successors: Successors, replay: Replay, progress: Progress) -> None:
        """Replay page by page; each is read while the one before is applied."""
        changes: Sequence[Change] = ()
        last = NEAR + 1
        while last - replay.position > NEAR:
            _, (changes, last) = await asyncio.gather(
                successors.apply(changes), successors.read(lambda ledger: _next_page(replay, ledger))
            )
            self._note(done=replay.position, total=last)
            progress(replay.position, last)
        await successors.apply(changes)

    def _last_changes(self, replay: Replay, locked: Transaction) -> Sequence[Change]:
        """What is left to be replayed; the live ones, too, lack what a release with others has appended last."""
        catch_up(locked, self._codec, self._projections, most=None)
        return [change for page in replay.pages(locked) for change in page]

    def _note(self, **changed: object) -> None:
        self._status = msgspec.structs.replace(self._status, **changed)

    def _now(self) -> int:
        return to_microseconds(self._clock.now())


def _next_page(replay: Replay, ledger: Transaction) -> tuple[Sequence[Change], int]:
    """What it changes, and where the ledger ends: right there if nothing came, whatever the ledger says."""
    before = replay.position
    changes = replay.read_on(ledger, PAGE, PAGE_BYTES)
    return changes, before if replay.position == before else ledger.position()


def _look_at(task: "asyncio.Task[RebuildReport]") -> None:
    """Nobody may wait for it, and its failure is in the status."""
    if not task.cancelled():
        task.exception()
