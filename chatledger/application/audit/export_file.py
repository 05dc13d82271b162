"""The file that an export is written to: private, under another name until it is whole, and taken up where it ended."""

import fcntl
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, Self

from chatledger.application.audit.export_lines import BEGUN_LINE, ExportScope
from chatledger.application.audit.export_reader import BadExportError, ExportReader
from chatledger.application.audit.exporting import Export, Exporting, Progress

_FIRST_BYTES = 4_096


class ExportFileError(Exception):
    """An export cannot be written to a file; the text says why."""


class ExportFile:
    """Writes one export. Blocks.

    Until it is whole it has ``.part`` behind its name. Whoever exports the same once more takes it up at the end of its
    last good line: the events are then those that it would have had without the interruption.

    Attributes:
        taken_up_after: the last position that was there already; 0 for none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._opening = ExitStack()
        self.taken_up_after = 0

    def __enter__(self) -> Self:
        """Open it, for this process alone.

        Raises:
            ExportFileError: the export is there already, or another process writes it.
            OSError: the file cannot be made.
        """
        with ExitStack() as opening:
            descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT, 0o600)
            self._file: BinaryIO = opening.enter_context(os.fdopen(descriptor, "r+b"))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ExportFileError(f"{self._part} is being written by another command") from None
            self._require_new()
            self._opening = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Let others have it."""
        self._opening.close()

    def write(self, exporting: Exporting, scope: ExportScope, progress: Progress) -> Export:
        """Write what is not there yet.

        Raises:
            ExportFileError: what is there is not the beginning of this export.
            UnexportableError: the ledger cannot be exported. What was written stays.
            OSError: the file cannot be written.
        """
        export = self._take_up(exporting, scope) or self._begin(exporting, scope)
        for lines in export.rest(progress):
            self._file.write(lines)
        self._file.flush()
        os.fsync(self._file.fileno())
        return export

    def finish(self) -> None:
        """Give the whole export its name.

        Raises:
            ExportFileError: there is one of this name meanwhile.
        """
        self._require_new()
        self._part.rename(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _require_new(self) -> None:
        if self._path.exists():
            raise ExportFileError(f"{self._path} is there already")

    def _begin(self, exporting: Exporting, scope: ExportScope) -> Export:
        export = exporting.begin(scope)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(export.first_line())
        return export

    def _take_up(self, exporting: Exporting, scope: ExportScope) -> Export | None:
        """The export whose beginning the file has, up to its last good event; None where not even a line is there."""
        head = self._file.read(_FIRST_BYTES)
        self._file.seek(0)
        if b"\n" not in head and BEGUN_LINE.startswith(head[: len(BEGUN_LINE)]):
            return None
        try:
            reader = ExportReader(self._file, may_be_cut=True)
        except BadExportError as error:
            raise ExportFileError(f"{self._part} is no export: {error}") from error
        if reader.begun.scope != scope:
            raise ExportFileError(f"{self._part} is the beginning of another export")
        export = exporting.go_on(reader.begun)
        # What did not come to the disk as it was written is written once more.
        with suppress(BadExportError):
            for row in reader.rows():
                export.note(row)
        self._file.seek(reader.good_bytes)
        self._file.truncate()
        self.taken_up_after = export.last
        return export
