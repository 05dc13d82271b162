"""A store at work, for histories that run through the writer."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.views import SqlViews
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.system_clock import new_id
from tests.persistence.stores import Store, open_store, running_writer


class Place(NamedTuple):
    runner: asyncio.Runner
    ledger: Ledger
    store: Store
    views: SqlViews


@pytest.fixture
def place(tmp_path: Path, database_url: str | None) -> Iterator[Place]:
    with (
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
        open_store(tmp_path, database_url) as store,
        contextlib.closing(Reader(store.database.reading(1), threads=1)) as reader,
    ):
        running = running_writer(store, runner.get_loop())
        writer = runner.run(running.__aenter__())
        try:
            ledger = Ledger(store.ledger, store.codec, store.keyring, writer, new_id)
            yield Place(runner, ledger, store, SqlViews(reader, RowSeals(store.keyring)))
        finally:
            runner.run(running.__aexit__(None, None, None))
