"""A copy of the key store, for whoever takes a ledger elsewhere."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from chatledger.adapters.keys.file import key_store_errors


def copy_key_store(source: Path, target: Path) -> None:
    """Copy a key store as it stands, beside whoever writes to it. The master key is not in it. Blocks.

    Raises:
        FileExistsError: the target is there already.
        OSError: the copy cannot be written.
        StorageUnavailableError: the key store cannot be read, or the copy cannot be written.
    """
    if target.exists():
        raise FileExistsError(f"{target} is there already")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    part.touch(0o600)
    with key_store_errors(), closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(part)) as copy:
        original.execute("PRAGMA query_only=ON")
        original.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
    _sync(part)
    part.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
