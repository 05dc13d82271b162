"""Exporting the ledger, or a part of it, as lines that can be checked without it."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import msgspec

from chatledger.application.audit.export_lines import (
    FORMAT,
    BegunLine,
    EndedLine,
    ExportBegun,
    ExportEnded,
    ExportScope,
    UnexportableError,
    event_line,
    line_of,
    source_of,
)
from chatledger.application.audit.merkle import CompactRange
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.clock import Clock, IdFactory
from chatledger.application.ports.export import ExportedLedger
from chatledger.application.ports.storage import EventRow

PAGE = 1_000

Progress = Callable[[int, int], None]
"""Told of the events done and of the events in all."""


class FileBytes(msgspec.Struct, frozen=True):
    """The bytes of a file that a row tells of; ``size`` is that of what people see."""

    file_id: UUID
    size: int


class _Sized(msgspec.Struct, frozen=True):
    size: int


_decode_size = msgspec.json.Decoder(_Sized).decode


def file_bytes(row: EventRow) -> FileBytes | None:
    """The bytes that belong to a row; None where none do."""
    if row.category != "file" or row.name != "FileUploaded":
        return None
    try:
        return FileBytes(row.stream_id, _decode_size(row.public).size)
    except msgspec.DecodeError:
        return None


class Export:
    """One export, and how far it has come.

    Attributes:
        begun: what its first line tells.
        last: the position of the last event that was written.
        done: how many events were written.
        tree: of their leaves.
        files: those whose bytes belong to them.
    """

    def __init__(
        self,
        ledger: ExportedLedger,
        begun: ExportBegun,
        positions: Sequence[int] | None,
        clock: Clock,
        new_id: IdFactory,
    ) -> None:
        self.begun = begun
        self.last = 0
        self.done = 0
        self.tree = CompactRange()
        self.files: list[FileBytes] = []
        self._ledger = ledger
        self._positions = positions
        self._clock = clock
        self._new_id = new_id
        self._source = source_of(begun.incarnation)

    def note(self, row: EventRow) -> None:
        """The next event is written."""
        self.last = row.position
        self.done += 1
        self.tree.push(row.leaf)
        if (found := file_bytes(row)) is not None:
            self.files.append(found)

    def first_line(self) -> bytes:
        """What is exported."""
        return line_of(
            BegunLine(
                id=self._new_id(),
                source=self._source,
                subject=self.begun.incarnation,
                time=self._clock.now(),
                data=self.begun,
            )
        )

    def rest(self, progress: Progress) -> Iterator[bytes]:
        """All lines that were not written yet, but for the first, many at a time.

        Raises:
            UnexportableError: while iterating: a row is missing, does not fit its leaf, or cannot be a line.
        """
        for page in self._pages():
            lines = [self._line(row) for row in page]
            yield b"".join(lines)
            progress(self.done, self.begun.events)
        if self.done != self.begun.events:
            raise _missing(self.last + 1)
        yield self._last_line()

    def _pages(self) -> Iterator[Sequence[EventRow]]:
        if self._positions is None:
            while page := self._ledger.log(self.last, min(PAGE, self.begun.through - self.last)):
                yield page
            return
        for start in range(bisect_right(self._positions, self.last), len(self._positions), PAGE):
            wanted = self._positions[start : start + PAGE]
            page = self._ledger.rows_at(wanted)
            if len(page) != len(wanted):
                raise _missing(min(set(wanted).difference(row.position for row in page)))
            yield page

    def _line(self, row: EventRow) -> bytes:
        if self._positions is None and row.position != self.last + 1:
            raise _missing(self.last + 1)
        if row.leaf != leaf_hash(row):
            raise UnexportableError(
                f"the event at position {row.position} does not fit its leaf: run `chatledger verify`"
            )
        line = event_line(row, self._source)
        self.note(row)
        return line

    def _last_line(self) -> bytes:
        ended = ExportEnded(events=self.done)
        if self.begun.scope.is_whole:
            checkpoint = self._ledger.checkpoint(self.begun.through)
            ended = ExportEnded(events=self.done, root=self.tree.root(), checkpoint=checkpoint)
        return line_of(
            EndedLine(
                id=self._new_id(),
                source=self._source,
                subject=self.begun.incarnation,
                time=self._clock.now(),
                data=ended,
            )
        )


def _missing(position: int) -> UnexportableError:
    return UnexportableError(f"there is no event at position {position}: run `chatledger verify`")


class Exporting:
    """Begins exports. Blocks; in memory are a page of rows and, of a part, 8 bytes for each of its events."""

    def __init__(self, ledger: ExportedLedger, clock: Clock, new_id: IdFactory) -> None:
        self._ledger = ledger
        self._clock = clock
        self._new_id = new_id

    def begin(self, scope: ExportScope) -> Export:
        """An export of what is on the ledger now."""
        through = self._ledger.head().position
        positions = None if scope.is_whole else self._ledger.positions(scope, through)
        begun = ExportBegun(
            format=FORMAT,
            incarnation=self._ledger.incarnation(),
            scope=scope,
            through=through,
            events=through if positions is None else len(positions),
        )
        return self._export(begun, positions)

    def go_on(self, begun: ExportBegun) -> Export:
        """The export that began so: it ends where it was to end.

        Raises:
            UnexportableError: it is one of another ledger, or there is not the same to export any more.
        """
        if begun.incarnation != self._ledger.incarnation():
            raise UnexportableError("what was begun is an export of another ledger")
        positions = None if begun.scope.is_whole else self._ledger.positions(begun.scope, begun.through)
        if positions is not None and len(positions) != begun.events:
            raise UnexportableError("what was begun has other events than there are to export now: begin anew")
        return self._export(begun, positions)

    def _export(self, begun: ExportBegun, positions: Sequence[int] | None) -> Export:
        return Export(self._ledger, begun, positions, self._clock, self._new_id)
