"""Importing an export: a whole ledger, row for row, into an empty store."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO
from uuid import UUID

import msgspec

from chatledger.application.audit.export_lines import ExportBegun
from chatledger.application.audit.export_reader import BadExportError, ExportReader
from chatledger.application.audit.exporting import FileBytes, Progress, file_bytes
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.projections import Projections
from chatledger.application.ledger.rebuild import Replay
from chatledger.application.ports.storage import (
    LIBRARY,
    Change,
    Delete,
    EventRow,
    Insert,
    LedgerStore,
    Transaction,
    Update,
    Upsert,
)
from chatledger.domain.events import REGISTRY
from chatledger.domain.registry import UnknownEventError

EVENTS_PER_COMMIT = 1_000
BYTES_PER_COMMIT = 8 * 1024 * 1024

_CHANGED = "the file is not what it was when it was checked"


class ImportRefusedError(Exception):
    """The export cannot be imported here; nothing was written. The text says why."""


class CheckedExport(msgspec.Struct, frozen=True):
    """A whole export of a whole ledger, in which nothing is wrong.

    Attributes:
        files: those whose bytes belong to it.
        root: of the Merkle tree of its leaves.
    """

    begun: ExportBegun
    files: Sequence[FileBytes]
    root: bytes


def check_export(file: BinaryIO, progress: Progress) -> CheckedExport:
    """Read an export from its beginning to its end, before anything is written. Blocks.

    In memory are some 200 bytes for each stream, and a bit for each event.

    Raises:
        BadExportError: something is wrong with a line.
        ImportRefusedError: it is an export of a part, or of a newer release.
    """
    reader = ExportReader(file)
    begun = reader.begun
    if not begun.scope.is_whole:
        raise ImportRefusedError("this is an export of a part of a ledger: only a whole one can be imported")
    files: list[FileBytes] = []
    history = _History()
    for row in reader.rows():
        objection = history.objection(row)
        if objection is not None:
            raise BadExportError(row.position + 1, row.position, objection)
        if (found := file_bytes(row)) is not None:
            files.append(found)
        if row.position % EVENTS_PER_COMMIT == 0 or row.position == begun.events:
            progress(row.position, begun.events)
    return CheckedExport(begun, files, reader.tree.root())


class _History:
    """The rows of a ledger so far, as far as the next one has to go with them."""

    def __init__(self) -> None:
        self._streams: dict[UUID, tuple[int, int]] = {}
        self._holds_context = bytearray()
        self._known: set[tuple[str, int]] = set()
        self._recorded_at = 0

    def objection(self, row: EventRow) -> str | None:
        """What keeps a row from being the next one; None where it is.

        Raises:
            ImportRefusedError: a newer release has written it.
        """
        self._require_known(row)
        kind = hash((row.category, row.key_id))
        version, known_kind = self._streams.get(row.stream_id, (0, kind))
        if row.version != version + 1:
            return f"the event is version {row.version} of its stream, not {version + 1}"
        if kind != known_kind:
            return "the event has another category or key than its stream"
        if row.recorded_at < self._recorded_at:
            return "the event was recorded before the one in front of it"
        if not self._has_context(row):
            return "the event has no context"
        self._streams[row.stream_id] = (row.version, kind)
        self._recorded_at = row.recorded_at
        return None

    def _has_context(self, row: EventRow) -> bool:
        place, bit = divmod(row.context_position, 8)
        if row.context is None:
            return place < len(self._holds_context) and bool(self._holds_context[place] >> bit & 1)
        if row.context_position != row.position:
            return False
        self._holds_context.extend(bytes(place + 1 - len(self._holds_context)))
        self._holds_context[place] |= 1 << bit
        return True

    def _require_known(self, row: EventRow) -> None:
        kind = (row.name, row.schema)
        if kind in self._known or row.category.startswith(LIBRARY):
            return
        try:
            newest = REGISTRY.named(row.name).schema
        except UnknownEventError:
            newest = 0
        if not 1 <= row.schema <= newest:
            raise ImportRefusedError(f"this release does not know {row.name} in version {row.schema}")
        self._known.add(kind)


class Importing:
    """Writes the rows of an export, and moves the read models along. Blocks.

    Positions, ids and leaves are those of the export, and so is the root of the tree. The incarnation is the store's
    own: whatever comes next at the same positions is another ledger's.
    """

    def __init__(self, store: LedgerStore, codec: EventCodec, projections: Projections) -> None:
        self._store = store
        self._codec = codec
        self._projections = projections

    def begin(self, begun: ExportBegun) -> int:
        """Let an import begin, or one of the same events go on; the last position that is there already.

        Raises:
            ImportRefusedError: the store is not empty, or another import into it was interrupted.
            StorageUnavailableError: the store is in trouble.
        """
        with self._store.write() as transaction:
            position, through = transaction.position(), transaction.import_through()
            if through is None and position:
                raise ImportRefusedError(f"the ledger has {position} events: only an empty one takes an import")
            if through not in {None, begun.through}:
                raise ImportRefusedError("an import of another export was interrupted here")
            if begun.through:
                transaction.apply([_through(begun.through)])
        return position

    def run(self, file: BinaryIO, checked: CheckedExport, progress: Progress) -> int:
        """Write what is not there yet of an export that was checked; how many events that was.

        Every commit leaves the ledger as it was at one of its positions, and the last one lets others open it: once the
        file has been read to its end, and is what was checked.

        Raises:
            BadExportError: the file is not what it was when it was checked.
            ImportRefusedError: what is there already is not of this export.
            StorageUnavailableError: the store is in trouble; what was written before stays.
        """
        reader = ExportReader(file)
        if reader.begun != checked.begun:
            raise BadExportError(1, None, _CHANGED)
        replay, through, written = Replay(self._codec, self._projections), reader.begun.through, 0
        for rows in _commits(reader.rows()):
            if reader.ended is not None and reader.tree.root() != checked.root:
                raise BadExportError(through + 2, None, _CHANGED)
            with self._store.write() as transaction:
                written += self._write(transaction, rows, through, replay)
            progress(rows[-1].position, through)
        return written

    def _write(self, transaction: Transaction, rows: Sequence[EventRow], through: int, replay: Replay) -> int:
        position = transaction.position()
        there = [row for row in rows if row.position <= position]
        if there and transaction.read_log(there[0].position - 1, len(there)) != there:
            raise ImportRefusedError("what is in the ledger already is not of this export")
        new = rows[len(there) :]
        if not new:
            return 0
        transaction.append(new)
        replay.position = position
        changes: list[Change] = [_of_library(row) for row in new if row.category.startswith(LIBRARY)]
        changes += [_told_so_far(row, through) for row in new if row.category == "webhook"]
        changes += replay.read_on(transaction, len(new))
        if new[-1].position == through:
            changes.append(_through(None))
        transaction.apply(changes)
        return len(new)


def _through(position: int | None) -> Change:
    return Update("head", {"singleton": 1}, {"import_through": position})


def _of_library(row: EventRow) -> Change:
    application = row.category.removeprefix(LIBRARY)
    return Insert("library_events", {"application": application, "position": row.position})


def _told_so_far(row: EventRow, through: int) -> Change:
    """An endpoint is told of what comes after the import: of the rest it was told where that happened."""
    key = {"endpoint_id": row.stream_id}
    if row.name == "EndpointRemoved":
        return Delete("webhook_progress", key)
    place = {"position": through, "failures": 0, "paused_until": 0, "forgiven": 0, "revision": 0}
    return Upsert("webhook_progress", key, key | place, {})


def _commits(rows: Iterator[EventRow]) -> Iterator[Sequence[EventRow]]:
    """The rows, as many at a time as one commit takes; the last ones when it is known that there are no more."""
    taken, size = list[EventRow](), 0
    for row in rows:
        if len(taken) >= EVENTS_PER_COMMIT or size >= BYTES_PER_COMMIT:
            yield taken
            taken, size = list[EventRow](), 0
        taken.append(row)
        size += len(row.public) + len(row.sealed or b"")
    if taken:
        yield taken
