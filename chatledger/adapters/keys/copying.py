"""A copy of the key store, for whoever takes a ledger elsewhere."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from chatledger.adapters.keys.key_store import SMALL_TABLES, KeyStore, Row
from chatledger.adapters.keys.sqlite import SQLITE_SCHEMA, TIMEOUT_MS, key_store_errors
from chatledger.adapters.sqlite_files import connect_to_read

PAGE = 1_000

_PAGE = "SELECT number, key_id, parent_id, wrapped FROM keys WHERE number > ? ORDER BY number LIMIT ?"


def copy_key_store(source: KeyStore, target: Path) -> None:
    """Copy a key store as it stands into a file, beside whoever writes to it. The master key is not in it. Blocks.

    A copy of an earlier time is replaced: whatever was to be done after it may not have been.

    Raises:
        FileExistsError: the target is there already, and is something else.
        OSError: the copy cannot be written.
        StorageUnavailableError: the key store cannot be read, or the copy cannot be written.
    """
    if target.exists() and not _is_copy(target, source):
        raise FileExistsError(f"{target} is there already")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    part.touch(0o600)
    with key_store_errors(), closing(sqlite3.connect(part)) as copy, source.snapshot(), copy:
        copy.executescript(SQLITE_SCHEMA)
        for rows in _pages(source):
            copy.executemany("INSERT INTO keys (number, key_id, parent_id, wrapped) VALUES (?, ?, ?, ?)", rows)
        for table, columns in SMALL_TABLES.items():
            rows = source.read(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608 - names of our own
            copy.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", rows)  # noqa: S608
    _sync(part)
    part.rename(target)
    _sync(target.parent)


def _pages(source: KeyStore) -> Iterator[Sequence[Row]]:
    number = 0
    while rows := source.read(_PAGE, number, PAGE):
        yield rows
        number = rows[-1][0]


def _is_copy(target: Path, source: KeyStore) -> bool:
    """Whether it has keys, and none but those of the key store."""
    keys = "SELECT key_id, wrapped FROM keys"
    try:
        with closing(connect_to_read(target, timeout=TIMEOUT_MS / 1000)) as copy:
            copied = set(copy.execute(keys))
    except sqlite3.DatabaseError:
        return False
    return bool(copied) and copied <= set(source.read(keys))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
