"""A store on the disk with everything that writes to it and reads from it, as the server puts it together."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.clock import new_id
from chatledger.adapters.keys.store import SqliteKeyring
from chatledger.adapters.persistence.engine import sqlite_engine
from chatledger.adapters.persistence.migrate import upgrade
from chatledger.adapters.persistence.recorder import SqlRecorder
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ledger.projections import Projections
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.storage import EventRow
from chatledger.domain.events import MessageCreated

MASTER_KEY = bytes(range(32))


class SetClock:
    """A clock that shows what it was set to."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def pass_time(self, **delta: float) -> None:
        self.at += timedelta(**delta)


class Store(NamedTuple):
    path: Path
    writing: sa.Engine
    reading: sa.Engine
    ledger: SqlLedgerStore
    keyring: SqliteKeyring
    codec: EventCodec
    projections: Projections
    clock: SetClock

    def recorder(self) -> SqlRecorder:
        return SqlRecorder(self.writing, self.reading, self.clock, new_id)

    def query(self, sql: str, *parameters: object) -> list[tuple]:
        """What another connection sees, that is, what is committed."""
        with self.reading.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql, parameters)]

    def positions(self) -> list[int]:
        return [position for (position,) in self.query("SELECT position FROM events ORDER BY position")]


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    path = folder / "ledger.db"
    writing = sqlite_engine(path, "relaxed")
    upgrade(writing)
    reading = sqlite_engine(path, read_only=True)
    own_reading = sqlite_engine(path, read_only=True)
    reader = Reader(own_reading, threads=2)
    ledger = SqlLedgerStore(writing, reader)
    keyring = SqliteKeyring(folder / "keys.db", MASTER_KEY, new_id)
    codec, projections = EventCodec(keyring), Projections(RowSeals(keyring))
    try:
        yield Store(path, writing, reading, ledger, keyring, codec, projections, SetClock())
    finally:
        keyring.close()
        reader.close()
        reading.dispose()
        writing.dispose()


@asynccontextmanager
async def running_writer(store: Store, loop, projections=None) -> AsyncIterator[GroupCommitWriter]:
    writer = GroupCommitWriter(
        store.ledger, store.codec, store.keyring, projections or store.projections, store.clock, loop
    )
    writer.start((await store.ledger.head()).position)
    try:
        yield writer
    finally:
        await writer.close()


def a_question(query: str = "What is a ledger?", **changed: object) -> MessageCreated:
    asked = {
        "conversation_id": new_id(),
        "parent_id": UUID(int=0),
        "app_id": new_id(),
        "end_user_id": new_id(),
        "task_id": new_id(),
        "mode": "chat",
        "generator": "scripted",
        "prompt_version": 1,
        "context_cut": 0,
        "parameters": {},
        "inputs": {},
        "query": query,
    }
    return MessageCreated(**(asked | changed))


def a_row(position: int, stream_id: UUID, version: int, **changed: object) -> EventRow:
    plain = {
        "position": position,
        "stream_id": stream_id,
        "category": "message",
        "version": version,
        "event_id": new_id(),
        "name": "StopRequested",
        "schema": 1,
        "recorded_at": 1_000_000 + position,
        "public": b'{"by":"user"}',
        "sealed": None,
        "key_id": None,
        "algorithm": "none",
        "context_position": position,
        "context": b"{}",
    }
    row = EventRow(**(plain | changed))
    return EventRow(**({name: getattr(row, name) for name in row.__struct_fields__} | {"leaf": leaf_hash(row)}))
