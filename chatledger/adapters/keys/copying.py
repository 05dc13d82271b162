"""A copy of the key store, for whoever takes a ledger elsewhere."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from chatledger.adapters.keys.file import TIMEOUT_MS, key_store_errors
from chatledger.adapters.sqlite_files import connect_to_read


def copy_key_store(source: Path, target: Path) -> None:
    """Copy a key store as it stands, beside whoever writes to it. The master key is not in it. Blocks.

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
    with key_store_errors(), closing(_reading(source)) as original, closing(sqlite3.connect(part)) as copy:
        original.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
    _sync(part)
    part.rename(target)
    _sync(target.parent)


def _reading(path: Path) -> sqlite3.Connection:
    return connect_to_read(path, timeout=TIMEOUT_MS / 1000)


def _is_copy(target: Path, source: Path) -> bool:
    """Whether it has keys, and none but those of the key store."""
    keys = "SELECT key_id, wrapped FROM keys"
    try:
        with closing(_reading(target)) as copy:
            copied = set(copy.execute(keys))
    except sqlite3.DatabaseError:
        return False
    with key_store_errors(), closing(_reading(source)) as original:
        return bool(copied) and copied <= set(original.execute(keys))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
