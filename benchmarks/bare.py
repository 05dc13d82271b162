"""The bare drivers on a store that chatledger has made: what costs nothing but the database."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import msgspec
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.stores import Store
from chatledger.application.ledger.projections import READ_MODELS_VERSION

EVENT_COLUMNS = 12
NONCE_BYTES = 12

COPY_FROM = 10
"""Rows from which on COPY is at least as fast as ``executemany``."""

COPY_TYPES = ("int8", "int8", "int8", "uuid", "int8", "int8", "bytea", "bytea", "int2", "int8", "bytea", "bytea")


class Sizes(msgspec.Struct, frozen=True):
    """Bytes: of the whole ledger, of its events with their indexes, and of these indexes."""

    total: int
    events: int
    indexes: int


class Bare(Protocol):
    """One connection with the settings of the writing one.

    Attributes:
        bytes_of: what gives an id's column as bytes, in SQL.
    """

    bytes_of: str

    def select(self, sql: str, *parameters: Any) -> Iterable[Sequence[Any]]:
        """Rows. ``?`` marks a parameter."""
        ...

    def id(self, raw: bytes) -> Any:
        """An id as the driver takes it."""
        ...

    def append(self, events: Sequence[Sequence[Any]], recorded_at: int) -> None:
        """Insert events and move the head, in one durable transaction."""
        ...

    def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """Insert many rows with the same columns into any table, in one transaction."""
        ...

    def sizes(self) -> Sizes:
        """What the ledger takes."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


@contextmanager
def bare(store: Store) -> Iterator[Bare]:
    """A connection to the database of a store."""
    connection: Bare = BarePostgres(store.url) if store.postmaster else BareSqlite(store.url)
    try:
        yield connection
    finally:
        connection.close()


class BareSqlite:
    """By ``sqlite3``."""

    bytes_of = ""

    _INSERT = f"INSERT INTO events VALUES ({', '.join('?' * EVENT_COLUMNS)})"
    _SIZES = (
        "SELECT sum(pgsize), sum(pgsize) FILTER (WHERE type = 'index') FROM dbstat JOIN sqlite_schema USING (name) "
        "WHERE tbl_name = 'events'"
    )

    def __init__(self, url: str) -> None:
        self._file = sqlite_file(Path(url.removeprefix("sqlite:///")))

    def select(self, sql: str, *parameters: Any) -> Iterable[Sequence[Any]]:
        """Rows, fetched as they are asked for."""
        return self._file.execute(sql, parameters)

    def id(self, raw: bytes) -> bytes:
        """Bytes, as they are."""
        return raw

    def append(self, events: Sequence[Sequence[Any]], recorded_at: int) -> None:
        """By ``executemany``."""
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany(self._INSERT, events)
        self._file.execute("UPDATE head SET position = ?, recorded_at = ?", (events[-1][0], recorded_at))
        self._file.execute("COMMIT")

    def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """By ``executemany``."""
        marks = ", ".join("?" * len(rows[0]))
        values = [[value.bytes if isinstance(value, UUID) else value for value in row.values()] for row in rows]
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany(f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({marks})", values)
        self._file.execute("COMMIT")

    def sizes(self) -> Sizes:
        """The pages in use, after a checkpoint."""
        total = used_bytes(self._file)
        ((events, indexes),) = self._file.execute(self._SIZES)
        return Sizes(total, events, indexes)

    def close(self) -> None:
        """Close it."""
        self._file.close()


class BarePostgres:
    """By ``psycopg``."""

    bytes_of = "uuid_send"

    _INSERT = f"INSERT INTO events VALUES ({', '.join(['%s'] * EVENT_COLUMNS)})"
    _SIZES = (
        "SELECT sum(pg_total_relation_size(oid))::int8, pg_total_relation_size('events'), pg_indexes_size('events') "
        "FROM pg_class WHERE relkind = 'r' AND starts_with(relnamespace::regnamespace::text, current_schema())"
    )

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(f"SET search_path TO public, public_read_{READ_MODELS_VERSION}")
        self._cursor = self._connection.cursor(binary=True)

    def select(self, sql: str, *parameters: Any) -> Iterable[Sequence[Any]]:
        """Rows, all of them at once."""
        return self._cursor.execute(sql.replace("?", "%s"), parameters).fetchall()

    def id(self, raw: bytes) -> UUID:
        """A UUID."""
        return UUID(bytes=raw)

    def append(self, events: Sequence[Sequence[Any]], recorded_at: int) -> None:
        """By binary COPY, or by ``executemany`` where that is faster."""
        with self._connection.transaction():
            if len(events) < COPY_FROM:
                self._cursor.executemany(self._INSERT, events)
            else:
                with self._cursor.copy("COPY events FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(COPY_TYPES)
                    for event in events:
                        copy.write_row(event)
            self._cursor.execute("UPDATE head SET position = %s, recorded_at = %s", (events[-1][0], recorded_at))

    def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """By COPY."""
        with self._cursor.copy(f"COPY {table} ({', '.join(rows[0])}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(list(row.values()))

    def sizes(self) -> Sizes:
        """The tables with their indexes and what is stored out of line."""
        return Sizes(*self._cursor.execute(self._SIZES).fetchall()[0])

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def sqlite_file(path: Path) -> sqlite3.Connection:
    """A connection with the settings of the writing one."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-16000")
    connection.execute("PRAGMA wal_autocheckpoint=4000")
    return connection


def used_bytes(file: sqlite3.Connection) -> int:
    """What a SQLite file holds, after a checkpoint."""
    file.execute("PRAGMA wal_checkpoint(PASSIVE)")
    (pages,), (free,), (size,) = (
        file.execute(f"PRAGMA {pragma}").fetchone() for pragma in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


class Piece(msgspec.Struct):
    """What is decoded of each event: the fields that most of them have."""

    attempt: int = 0
    text: str = ""


class BareReader:
    """Selects events, opens and decodes them, and does no more.

    Args:
        secrets: the data keys by their ids, at hand without asking a key store.
    """

    def __init__(self, connection: Bare, secrets: dict[bytes, bytes]) -> None:
        self._connection = connection
        self._unseal = {key_id: AESGCM(secret).decrypt for key_id, secret in secrets.items()}
        self._decode = msgspec.json.Decoder(Piece).decode
        self._names = {
            number: schema.to_bytes(4, "big") + name.encode()
            for number, name, schema in connection.select("SELECT number, name, schema FROM event_types")
        }

    def stream(self, stream_id: bytes, key_id: bytes, *, opens: bool = True) -> float:
        """Seconds for the events of a stream."""
        decode, names, unseal = self._decode, self._names, self._unseal[key_id]
        pieces: list[Piece] = []
        began = time.perf_counter()
        select = f"""
        SELECT type, {self._connection.bytes_of}(event_id), public, sealed FROM events
        WHERE stream = (SELECT number FROM streams WHERE stream_id = ?) ORDER BY version
        """
        for kind, event_id, public, sealed in self._connection.select(select, self._connection.id(stream_id)):
            if opens and sealed is not None:
                plaintext = unseal(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], stream_id + event_id + names[kind])
                pieces.append(decode(public[:-1] + b"," + plaintext[1:]))
            else:
                pieces.append(decode(public))
        text = "".join([piece.text for piece in pieces])
        took = time.perf_counter() - began
        if opens and not text:
            raise ValueError("nothing was read")
        return took

    def ledger(self, *, opens: bool = True) -> float:
        """Seconds for all events, in their order."""
        decode, names, unseal = self._decode, self._names, self._unseal
        count, to_bytes = 0, self._connection.bytes_of
        began = time.perf_counter()
        select = f"""
        SELECT type, {to_bytes}(stream_id), {to_bytes}(event_id), {to_bytes}(key_id), public, sealed
        FROM events JOIN streams ON number = stream ORDER BY position
        """
        for kind, stream_id, event_id, key_id, public, sealed in self._connection.select(select):
            if opens and sealed is not None:
                associated = stream_id + event_id + names[kind]
                plaintext = unseal[key_id](sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
                decode(public[:-1] + b"," + plaintext[1:])
            else:
                decode(public)
            count += 1
        took = time.perf_counter() - began
        if not count:
            raise ValueError("nothing was read")
        return took
