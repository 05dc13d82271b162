"""An export of a whole ledger, read as its auditor reads a ledger."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import BinaryIO
from uuid import UUID

import msgspec

from chatledger.application.audit.export_lines import ENDED_LINE, EndedLine
from chatledger.application.audit.export_reader import BadExportError, ExportReader
from chatledger.application.audit.findings import Findings
from chatledger.application.audit.trust import Trust
from chatledger.application.audit.verification import SEALED_CONTENT, Progress, Report, verify
from chatledger.application.ports.audit import ClaimedCheckpoint, RawHead, RawStream
from chatledger.application.ports.storage import ALGORITHMS, EventRow, RawRow

ROWS_PER_PAGE = 1_000
LONGEST_END = 1024 * 1024
"""Bytes. The last line holds one checkpoint."""

OF_A_PART = (
    "whether these are events of a ledger, and whether others belong to them: the export is of a part, each of its "
    "events fits its own leaf, and nothing that is signed covers them; a receipt proves events one by one"
)

_decode_ended = msgspec.json.Decoder(EndedLine).decode


class AuditedExport:
    """Numbers streams and types as it meets them: that takes some 200 bytes of memory for each stream.

    Args:
        file: opened for reading bytes.
        place: its name.
        findings: told of the first line that is not as an export writes it; nothing is read after it.

    Raises:
        BadExportError: the first line is not that of an export.
    """

    def __init__(self, file: BinaryIO, place: str, findings: Findings) -> None:
        self.place = place
        self._findings = findings
        self._file = file
        self._newest = self._newest_checkpoint()
        file.seek(0)
        self._reader = ExportReader(file)
        self._numbers: dict[UUID, int] = {}
        self._streams: dict[int, RawStream] = {}
        self._type_numbers: dict[tuple[str, int], int] = {}
        self._types: dict[int, tuple[str, int]] = {}

    @property
    def is_whole(self) -> bool:
        """Whether it is one of all of the ledger."""
        return self._reader.begun.scope.is_whole

    def expected(self) -> int:
        """What its first line says."""
        return self._reader.begun.events

    def heads(self) -> Sequence[RawHead] | None:
        """None: its last line says where it ends, and the reader looks at that."""
        return None

    def event_types(self) -> Mapping[int, tuple[str, int]]:
        """Those that were met so far."""
        return self._types

    def count_streams(self) -> int:
        """How many were met so far."""
        return len(self._numbers)

    def last_stream(self) -> int:
        """The same."""
        return len(self._numbers)

    def streams(self, numbers: Collection[int]) -> Mapping[int, RawStream]:
        """Those that there are of these numbers."""
        return {number: self._streams[number] for number in numbers if number in self._streams}

    def pages(self) -> Iterator[Sequence[RawRow]]:
        """All events, by their positions."""
        rows = self._rows()
        while page := list(islice(rows, ROWS_PER_PAGE)):
            yield page

    def _rows(self) -> Iterator[RawRow]:
        try:
            for row in self._reader.rows():
                yield self._raw(row)
        except BadExportError as error:
            self._findings.add("malformed", f"{error}; nothing was read from there on", error.position)

    def _raw(self, row: EventRow) -> RawRow:
        stream = self._numbers.setdefault(row.stream_id, len(self._numbers) + 1)
        key_id = None if row.key_id is None else row.key_id.bytes
        met = self._streams.setdefault(stream, RawStream(row.stream_id.bytes, row.category, key_id))
        if (met.category, met.key_id) != (row.category, key_id):
            self._findings.add(
                "stream", "its stream was of another category, or under another key, before", row.position
            )
        kind = self._type_numbers.setdefault((row.name, row.schema), len(self._type_numbers) + 1)
        self._types[kind] = row.name, row.schema
        return (
            row.position,
            stream,
            row.version,
            row.event_id.bytes,
            kind,
            row.recorded_at,
            row.public,
            row.sealed,
            ALGORITHMS.index(row.algorithm),
            row.context_position,
            row.context,
            row.leaf,
        )

    def checkpoints(self) -> Iterator[ClaimedCheckpoint]:
        """The one that its last line holds."""
        if self._newest is not None:
            yield ClaimedCheckpoint(1, None, None, self._newest)

    def _newest_checkpoint(self) -> bytes | None:
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - LONGEST_END))
        last = self._file.read().removesuffix(b"\n").rpartition(b"\n")[2]
        if not last.startswith(ENDED_LINE):
            return None
        try:
            checkpoint = _decode_ended(last).data.checkpoint
        except (msgspec.MsgspecError, RecursionError):
            return None
        return None if checkpoint is None else checkpoint.encode()

    def tiles(self, level: int, first: int, count: int) -> Mapping[int, bytes]:  # noqa: ARG002 - it has none
        """None."""
        return {}

    def count_tiles(self) -> int:
        """None."""
        return 0


def verify_export(
    file: BinaryIO, place: str, trust: Trust, outside: Sequence[ClaimedCheckpoint], progress: Progress
) -> Report:
    """Verify an export: all of a ledger like the ledger itself, a part of one row by row. Blocks as long as it takes.

    Raises:
        BadExportError: the first line is not that of an export.
    """
    findings = Findings()
    export = AuditedExport(file, place, findings)
    if export.is_whole:
        return verify(export, trust, outside, progress, findings)
    events = 0
    for page in export.pages():
        events += len(page)
        progress(events, export.expected())
    return Report(
        place=place,
        events=events,
        signed=0,
        checkpoints=0,
        root=None,
        keys=[],
        findings=list(findings.kept),
        problems=findings.count,
        first_bad=findings.first_bad,
        unchecked=[OF_A_PART, SEALED_CONTENT],
    )
