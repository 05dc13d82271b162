"""Reading an export back: each line checked on its own and against those before it, one of them in memory."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from chatledger.application.audit.export_lines import (
    ENDED_LINE,
    FORMAT,
    LONGEST_LINE,
    BegunLine,
    EndedLine,
    ExportBegun,
    ExportEnded,
    UnexportableError,
    event_line,
    line_of,
    row_of,
    source_of,
)
from chatledger.application.audit.merkle import CompactRange
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.storage import EventRow

_UNREADABLE = (ValueError, RecursionError, OverflowError, struct.error)
"""What comes of a line that no export has: msgspec's own errors are among them."""

_decode_begun = msgspec.json.Decoder(BegunLine).decode
_decode_ended = msgspec.json.Decoder(EndedLine).decode


class BadExportError(Exception):
    """A file is not the export that it begins as. The text names the line, and the position that it should have.

    Attributes:
        line: counted from 1.
        position: the first position of the ledger that cannot be relied on; None where the line does not tell.
    """

    def __init__(self, line: int, position: int | None, reason: str) -> None:
        where = f"line {line}" if position is None else f"line {line} (position {position})"
        super().__init__(f"{where}: {reason}")
        self.line = line
        self.position = position


class ExportReader:
    """Goes once through an export.

    Every line has to be the very bytes that an export of its row has, and the row has to fit its leaf. In an export of
    a whole ledger the positions are 1, 2, 3, ... without gaps; else they rise.

    Args:
        file: opened for reading bytes, at its beginning.
        may_be_cut: whether it may end before its last line, as one does whose writing was interrupted. A line that is
            not whole is then passed over.

    Raises:
        BadExportError: the first line is not that of an export.

    Attributes:
        begun: what the first line tells.
        ended: what the last one tells, once all rows were read.
        good_bytes: where the last good event ends.
        tree: of a whole ledger, as far as its rows were read.
    """

    def __init__(self, file: BinaryIO, *, may_be_cut: bool = False) -> None:
        self._file = file
        self._may_be_cut = may_be_cut
        self._line = 1
        self._last = 0
        self._events = 0
        self.good_bytes = 0
        self.tree = CompactRange()
        self.ended: ExportEnded | None = None
        self.begun = self._read_begun()
        self._source = source_of(self.begun.incarnation)

    def rows(self) -> Iterator[EventRow]:
        """The rows in their order.

        Raises:
            BadExportError: while iterating.
        """
        while (line := self._next()) is not None:
            self._line += 1
            if line.startswith(ENDED_LINE):
                self._end(line)
                return
            row = self._checked(line)
            self._last = row.position
            self._events += 1
            self.good_bytes += len(line)
            if self.begun.scope.is_whole:
                self.tree.push(row.leaf)
            yield row
        if not self._may_be_cut:
            self._line += 1
            raise self._bad("the file ends before the export does")

    def _next(self) -> bytes | None:
        line = self._file.readline(LONGEST_LINE + 1)
        if not line or (self._may_be_cut and not line.endswith(b"\n")):
            return None
        return line

    def _read_begun(self) -> ExportBegun:
        line = self._next() or b""
        try:
            begun = _decode_begun(line)
        except _UNREADABLE:
            raise BadExportError(1, None, "this is no export of a ledger") from None
        if begun.data.format != FORMAT:
            raise BadExportError(1, None, f"the export has the format {begun.data.format}, this release reads {FORMAT}")
        if line != line_of(begun):
            raise BadExportError(1, None, "the line is not as an export writes it")
        if begun.data.scope.is_whole and begun.data.through != begun.data.events:
            raise BadExportError(1, None, f"{begun.data.events} events do not end at position {begun.data.through}")
        self.good_bytes = len(line)
        return begun.data

    def _checked(self, line: bytes) -> EventRow:
        try:
            row, source = row_of(line)
            is_as_written = line == event_line(row, source)
            fits_leaf = row.leaf == leaf_hash(row)
        except (*_UNREADABLE, UnexportableError):
            raise self._bad("the line is no event of an export") from None
        if self.begun.scope.is_whole and row.position != self._last + 1:
            raise self._bad(f"the event is the one of position {row.position}")
        if not self._last < row.position <= self.begun.through:
            raise self._bad(f"the event of position {row.position} does not belong here", row.position)
        if not fits_leaf:
            raise self._bad("the event does not fit its leaf", row.position)
        if source != self._source:
            raise self._bad("the event is of another ledger", row.position)
        if not is_as_written:
            raise self._bad("the line is not as an export writes it", row.position)
        return row

    def _end(self, line: bytes) -> None:
        try:
            ended = _decode_ended(line)
        except _UNREADABLE:
            raise self._bad("the last line is not that of an export") from None
        if line != line_of(ended) or ended.source != self._source:
            raise self._bad("the last line is not that of this export")
        if ended.data.events != self._events or self._events != self.begun.events:
            raise self._bad(f"there are {self._events} events, not {self.begun.events}")
        if ended.data.root != (self.tree.root() if self.begun.scope.is_whole else None):
            raise self._bad("the tree of the events has another root")
        if self._file.read(1):
            raise BadExportError(self._line + 1, None, "there is more after the last line")
        self.ended = ended.data

    def _bad(self, reason: str, position: int | None = None) -> BadExportError:
        return BadExportError(self._line, self._last + 1 if self.begun.scope.is_whole else position, reason)
