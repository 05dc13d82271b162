"""Stores with a history, and their exports."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from chatledger.adapters.keys.copying import copy_key_store
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.adapters.persistence.exported import SqlExportedLedger
from chatledger.application.audit.export_file import ExportFile
from chatledger.application.audit.export_lines import (
    FORMAT,
    BegunLine,
    EndedLine,
    ExportBegun,
    ExportEnded,
    ExportScope,
    event_line,
    line_of,
    source_of,
)
from chatledger.application.audit.export_reader import ExportReader
from chatledger.application.audit.exporting import Export, Exporting
from chatledger.application.audit.importing import Importing, check_export
from chatledger.application.audit.merkle import CompactRange
from chatledger.application.ports.storage import EventRow
from chatledger.application.system_clock import new_id
from tests.persistence.stores import Store, a_row, open_store
from tests.persistence.test_rebuild import keep_busy

WHOLE = ExportScope()

INCARNATION = UUID(int=7)
SOURCE = source_of(INCARNATION)


def nothing(_done: int, _total: int) -> None:
    """Nobody watches."""


@contextmanager
def busy_store(folder: Path, url: str | None, seed: int = 3, steps: int = 60) -> Iterator[Store]:
    with open_store(folder, url) as store:
        asyncio.run(keep_busy(store, seed, steps))
        yield store


def exporting_of(store: Store) -> Exporting:
    return Exporting(SqlExportedLedger(store.reading), store.clock, new_id)


def importing_of(store: Store) -> Importing:
    return Importing(store.ledger, store.codec, store.projections)


def export_to(path: Path, store: Store, scope: ExportScope = WHOLE) -> Export:
    with ExportFile(path) as file:
        export = file.write(exporting_of(store), scope, nothing)
        file.finish()
    return export


def read_export(path: Path) -> list[EventRow]:
    with path.open("rb") as file:
        reader = ExportReader(file)
        rows = list(reader.rows())
    assert reader.ended is not None
    return rows


def stored_rows(store: Store) -> list[EventRow]:
    with store.ledger.write() as transaction:
        return transaction.read_log(0, 1_000_000)


def import_from(path: Path, store: Store) -> int:
    """Check and import; how many events were written."""
    importing = importing_of(store)
    with path.open("rb") as file:
        checked = check_export(file, nothing)
    importing.begin(checked.begun)
    with path.open("rb") as file:
        return importing.run(file, checked, nothing)


def take_keys(source: Path, target: Path) -> None:
    """Let a store in the target folder open what one in the source folder has sealed."""
    target.mkdir()
    with closing(SqliteKeyStore(source / "keys.db", read_only=True)) as store:
        copy_key_store(store, target / "keys.db")


def an_export(rows: list[EventRow], scope: ExportScope = WHOLE) -> list[bytes]:
    attributes = {"id": new_id(), "source": SOURCE, "subject": INCARNATION, "time": datetime(2026, 1, 1, tzinfo=UTC)}
    through = rows[-1].position if rows else 0
    begun = ExportBegun(format=FORMAT, incarnation=INCARNATION, scope=scope, through=through, events=len(rows))
    tree = CompactRange()
    for row in rows:
        tree.push(row.leaf)
    ended = ExportEnded(events=len(rows), root=tree.root() if scope.is_whole else None)
    return [
        line_of(BegunLine(**attributes, data=begun)),
        *[event_line(row, SOURCE) for row in rows],
        line_of(EndedLine(**attributes, data=ended)),
    ]


def some_rows(count: int = 5, first: int = 1) -> list[EventRow]:
    stream_id, key_id = new_id(), new_id()
    return [
        a_row(position, stream_id, position, sealed=b"sealed", key_id=key_id, algorithm="aes-256-gcm")
        for position in range(first, first + count)
    ]
