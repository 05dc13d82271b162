"""Stores with a history, and their exports."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatledger.adapters.persistence.exported import SqlExportedLedger
from chatledger.application.audit.export_file import ExportFile
from chatledger.application.audit.export_lines import ExportScope
from chatledger.application.audit.export_reader import ExportReader
from chatledger.application.audit.exporting import Export, Exporting
from chatledger.application.ports.storage import EventRow
from chatledger.application.system_clock import new_id
from tests.persistence.stores import Store, open_store
from tests.persistence.test_rebuild import keep_busy

WHOLE = ExportScope()


@contextmanager
def busy_store(folder: Path, url: str | None, seed: int = 3, steps: int = 60) -> Iterator[Store]:
    with open_store(folder, url) as store:
        asyncio.run(keep_busy(store, seed, steps))
        yield store


def exporting_of(store: Store) -> Exporting:
    return Exporting(SqlExportedLedger(store.reading), store.clock, new_id)


def export_to(path: Path, store: Store, scope: ExportScope = WHOLE) -> Export:
    with ExportFile(path) as file:
        export = file.write(exporting_of(store), scope, lambda _done, _total: None)
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
