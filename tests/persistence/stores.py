"""A store on the disk with everything that writes to it and reads from it, as the server puts it together."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.adapters.persistence.database import Database, database_at
from chatledger.adapters.persistence.migrate import upgrade
from chatledger.adapters.persistence.open_ledgers import OpenLedger, Share
from chatledger.adapters.persistence.read_models import SqlReadModels
from chatledger.adapters.persistence.recorder import SqlRecorder
from chatledger.adapters.persistence.sqlite import sqlite_engine
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore
from chatledger.adapters.persistence.tracking import RunWriting
from chatledger.application.commands.rebuilding import Rebuilding
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ledger.projections import Projections
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.storage import EventRow
from chatledger.application.system_clock import new_id
from chatledger.domain.events import MessageCreated
from tests.support.master_keys import master_key


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
    database: Database
    writing: sa.Engine
    reading: sa.Engine
    ledger: SqlLedgerStore
    keyring: StoredKeyring
    codec: EventCodec
    projections: Projections
    clock: SetClock
    opened: OpenLedger

    def recorder(self, name: str = "Shop") -> SqlRecorder:
        """That of an application on the library in this process."""
        self.opened.users += 1
        return SqlRecorder(Share(self.opened), name)

    @contextmanager
    def elsewhere(self, name: str = "Shop") -> Iterator[SqlRecorder]:
        """That of one whose process is another: nothing is shared but the writing connection, if there is only one."""
        opened = OpenLedger(self.database, "relaxed", self.writing, ExitStack(), self.clock, new_id)
        opened.users = 1
        with closing(SqlRecorder(Share(opened), name)) as recorder:
            yield recorder

    def query(self, sql: str, **parameters: object) -> list[tuple]:
        """What another connection sees, that is, what is committed."""
        with self.reading.begin() as connection:
            rows = connection.execute(sa.text(sql), parameters)
            return [tuple(map(plain, row)) for row in rows] if rows.returns_rows else []

    def execute(self, sql: str, **parameters: object) -> None:
        """Change something behind everybody's back."""
        with self.writing.begin() as connection:
            connection.execute(sa.text(sql), parameters)

    @contextmanager
    def held_by_another(self) -> Iterator[None]:
        """Somebody else has the ledger's lock, and this store does not wait for it long."""
        on_sqlite = self.writing.dialect.name == "sqlite"
        with self.writing.begin() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 10" if on_sqlite else "SET lock_timeout = '10ms'")
        other = sqlite_engine(Path(self.database.place)) if on_sqlite else self.database.reading()
        with other.begin() as connection:
            if not on_sqlite:
                connection.exec_driver_sql("SELECT ledger_lock()")
            yield
        other.dispose()

    @contextmanager
    def taken_away(self) -> Iterator[None]:
        """The ledger is not where it was: its folder has another name, or its head has."""
        if self.writing.dialect.name == "sqlite":
            folder = Path(self.database.place).parent
            away = folder.rename(folder.with_name(f"{folder.name}-away"))
            yield
            away.rename(folder)
        else:
            self.execute("ALTER TABLE head RENAME TO away")
            yield
            self.execute("ALTER TABLE away RENAME TO head")

    def positions(self) -> list[int]:
        return [position for (position,) in self.query("SELECT position FROM events ORDER BY position")]


def plain(value: object) -> object:
    """A value as every database gives it: ids as bytes, flags as numbers."""
    if isinstance(value, UUID):
        return value.bytes
    return int(value) if isinstance(value, bool) else value


@contextmanager
def open_store(folder: Path, url: str | None = None) -> Iterator[Store]:
    """A store in a file of the folder, or at the URL; its keys in the folder."""
    database = database_at(url or f"sqlite:///{folder / 'ledger.db'}", "relaxed")
    with ExitStack() as stack:
        writing = stack.enter_context(database.alone())
        upgrade(writing)
        reading = database.reading()
        stack.callback(reading.dispose)
        reader = Reader(database.reading(2), threads=2)
        stack.callback(reader.close)
        keyring = StoredKeyring(SqliteKeyStore(folder / "keys.db"), master_key(folder), new_id)
        stack.callback(keyring.close)
        ledger = SqlLedgerStore(writing, reader, has_one_writer=database.has_one_writer)
        codec, projections = EventCodec(keyring), Projections(RowSeals(keyring))
        clock = SetClock()
        opened = OpenLedger(database, "relaxed", writing, ExitStack(), clock, new_id)
        opened.users = 1
        stack.callback(opened.close)
        yield Store(database, writing, reading, ledger, keyring, codec, projections, clock, opened)


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


@asynccontextmanager
async def open_rebuilding(store: Store, run: RunWriting = asyncio.to_thread) -> AsyncIterator[Rebuilding]:
    """What makes the read models of a store anew; beside a writer ``run`` is its ``run_alone``."""

    def open_reader() -> Reader:
        return Reader(store.database.reading(1), threads=1)

    read_models = SqlReadModels(store.ledger, store.writing, open_reader, run)
    rebuilding = Rebuilding(read_models, store.codec, store.projections, store.clock)
    try:
        yield rebuilding
    finally:
        await rebuilding.close()


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
