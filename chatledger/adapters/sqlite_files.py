"""SQLite files in WAL mode, as those open them who only read."""

import os
import sqlite3
from pathlib import Path

_WRITABLE_BY_ANYBODY = 0o222


def connect_to_read(path: Path, *, timeout: float, cached_statements: int = 128) -> sqlite3.Connection:
    """A connection that changes neither the file nor its write-ahead log, whoever writes to them meanwhile.

    Readers and writers share an index of the log, ``-shm``, which SQLite makes where there is none, as it makes an
    empty ``-wal``; they stay. Where nothing can be made the file is read without: nobody writes to it either.

    Args:
        path: the file.
        timeout: seconds to wait for whoever locks it.
        cached_statements: how many compiled statements it keeps.

    Raises:
        sqlite3.OperationalError: the file is not there, or cannot be read.
    """
    path = path.resolve()
    address, log = f"{path.as_uri()}?mode=ro", path.with_name(f"{path.name}-wal")
    is_frozen = _is_frozen(path)
    if is_frozen:
        # Whoever ignores locks may keep the index to itself; to go without the log would lose what is only there.
        address += "&vfs=unix-none" if log.exists() else "&immutable=1"
    connection = sqlite3.connect(
        address,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=timeout,
        cached_statements=cached_statements,
    )
    if is_frozen:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    return connection


def _is_frozen(path: Path) -> bool:
    """Whether nothing can be made beside a file, and nobody has it open: else its ``-shm`` would be there."""
    try:
        if path.with_name(f"{path.name}-shm").exists():
            return False
        is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        return bool(is_read_only) or not path.parent.stat().st_mode & _WRITABLE_BY_ANYBODY
    except OSError:
        return False
