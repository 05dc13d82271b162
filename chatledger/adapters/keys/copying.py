"""Copies of the key store: a file for whoever takes a ledger elsewhere, and another place for the keys of this one."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from chatledger.adapters.keys.key_store import GONE, SMALL_TABLES, KeyStore, KeyStoreWriting, Row
from chatledger.adapters.keys.keyring import LOOKUP_KEY
from chatledger.adapters.keys.sqlite import SQLITE_SCHEMA, TIMEOUT_MS, SqliteKeyStore, key_store_errors
from chatledger.adapters.sqlite_files import connect_to_read

PAGE = 1_000

_PAGE = "SELECT number, key_id, parent_id, wrapped FROM keys WHERE number > ? ORDER BY number LIMIT ?"
_OF_IDS = "SELECT key_id, parent_id, wrapped FROM keys WHERE key_id IN ({marks})"
# What is destroyed stays destroyed.
_PUT = (
    "INSERT INTO keys (key_id, parent_id, wrapped) VALUES (?, ?, ?) ON CONFLICT (key_id) "
    "DO UPDATE SET parent_id = excluded.parent_id, wrapped = excluded.wrapped WHERE keys.wrapped <> ?"
)
_IN_USE = (
    "SELECT count(*) FROM keys WHERE wrapped <> ? AND key_id <> ? AND key_id NOT IN (SELECT key_id FROM signing_keys)"
)
Progress = Callable[[int, int], None]
"""How many keys are done, of how many."""


class OtherKeysError(Exception):
    """There are other keys already where keys are to be copied to; the text says what to do."""


def copy_keys(source: KeyStore, target: KeyStore, progress: Progress) -> int:
    """Bring all that is in a key store into another, where nobody uses either; how many keys. Blocks.

    All of it, or nothing: in one transaction. What was destroyed in either is destroyed in the target then. Where the
    target has been opened once and never used, its own keys give way. Of a later copy of the source the rest stays.

    Raises:
        OtherKeysError: what is in the target is neither unused nor a copy of the source.
        StorageUnavailableError: a key store is in trouble; the target has not changed.
    """
    with source.snapshot():
        ((total,),) = source.read("SELECT count(*) FROM keys")
        with target.write() as writing:
            is_unused = _is_unused(target)
            if not is_unused and not has_all_keys(target, source):
                raise OtherKeysError(f"{target.place} has other keys: move them out of the way first")
            ((before,),) = target.read("SELECT count(*) FROM keys")
            if is_unused:
                _destroy_what_gives_way(source, target, writing)
                _copy_small_tables(source, writing)
            done = 0
            for rows in _pages(source.read):
                writing.execute_many(_PUT, [(*row[1:], GONE) for row in rows])
                done += len(rows)
                progress(done, total)
            if before:
                writing.shred(None)
    target.scrub()
    return int(total)


def has_all_keys(target: KeyStore, source: KeyStore) -> bool:
    """Whether a key store has each key of another as it is there, or one of the two has it destroyed. Blocks.

    Raises:
        StorageUnavailableError: one of them cannot be read.
    """
    for rows in _pages(source.read):
        wanted = {key_id: (parent_id, wrapped) for _, key_id, parent_id, wrapped in rows if wrapped != GONE}
        query = _OF_IDS.format(marks=", ".join("?" * len(wanted)))
        for key_id, parent_id, wrapped in target.read(query, *wanted) if wanted else ():
            if wrapped == GONE or wanted[key_id] == (parent_id, wrapped):
                del wanted[key_id]
        if wanted:
            return False
    return True


def _is_unused(store: KeyStore) -> bool:
    """Whether nothing was ever sealed or noted by what is in it: whoever opens one makes the first keys."""
    ((keys,),) = store.read(_IN_USE, GONE, LOOKUP_KEY.bytes)
    return not keys and not store.read("SELECT 1 FROM last_notes")


def _destroy_what_gives_way(source: KeyStore, target: KeyStore, writing: KeyStoreWriting) -> None:
    """A master key that was made with the target may be gone: what it wraps would be in the way of each rotation."""
    for (key_id,) in target.read("SELECT key_id FROM signing_keys"):
        if not source.read("SELECT 1 FROM keys WHERE key_id = ?", key_id):
            writing.execute("UPDATE keys SET wrapped = ? WHERE key_id = ?", GONE, key_id)


def _copy_small_tables(source: KeyStore, writing: KeyStoreWriting) -> None:
    for table, columns in SMALL_TABLES.items():
        if table != "ledger":  # an import has said already of which one the target is
            writing.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
        rows = source.read(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608
        marks = ", ".join("?" * len(columns))
        writing.execute_many(f"INSERT INTO {table} VALUES ({marks}) ON CONFLICT DO NOTHING", rows)  # noqa: S608


def copy_key_store(source: KeyStore, target: Path) -> None:
    """Copy a key store as it stands into a file, beside whoever writes to it. The master key is not in it. Blocks.

    A copy of an earlier time is replaced, whatever was destroyed or rotated since.

    Raises:
        FileExistsError: the target is there already, and is something else, or the key store itself.
        OSError: the copy cannot be written.
        StorageUnavailableError: the key store cannot be read, or the copy cannot be written.
    """
    if target.exists() and (_is_itself(target, source) or not _is_copy(target, source)):
        raise FileExistsError(f"{target} is there already")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    part.touch(0o600)
    with key_store_errors(), closing(sqlite3.connect(part)) as copy, source.snapshot(), copy:
        copy.executescript(SQLITE_SCHEMA)
        for rows in _pages(source.read):
            copy.executemany("INSERT INTO keys (number, key_id, parent_id, wrapped) VALUES (?, ?, ?, ?)", rows)
        for table, columns in SMALL_TABLES.items():
            rows = source.read(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608 - names of our own
            copy.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", rows)  # noqa: S608
    _sync(part)
    part.rename(target)
    _sync(target.parent)


def _pages(read: Callable[..., Sequence[Row]]) -> Iterator[Sequence[Row]]:
    number = 0
    while rows := read(_PAGE, number, PAGE):
        yield rows
        number = rows[-1][0]


def _is_itself(target: Path, source: KeyStore) -> bool:
    return isinstance(source, SqliteKeyStore) and target.samefile(source.place)


def _is_copy(target: Path, source: KeyStore) -> bool:
    """Whether it has keys, and none but those of the key store, be they destroyed since, or wrapped anew."""
    is_ours = False
    try:
        with closing(connect_to_read(target, timeout=TIMEOUT_MS / 1000)) as copy:

            def read(query: str, *values: object) -> Sequence[Row]:
                return copy.execute(query, values).fetchall()

            for rows in _pages(read):
                copied = {key_id: wrapped for _, key_id, _, wrapped in rows}
                query = _OF_IDS.format(marks=", ".join("?" * len(copied)))
                known = {key_id: wrapped for key_id, _, wrapped in source.read(query, *copied)}
                if known.keys() != copied.keys():
                    return False
                # Every key store has a key of lookups, under the same id.
                is_ours |= any(
                    key_id != LOOKUP_KEY.bytes or wrapped == known[key_id] for key_id, wrapped in copied.items()
                )
    except sqlite3.DatabaseError:
        return False
    return is_ours


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
