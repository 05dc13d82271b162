"""One server per store: the lock, against real processes."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatledger.adapters.persistence.lock import DataFolderLock
from chatledger.adapters.persistence.sqlite import sqlite_engine
from chatledger.application.ports.storage import StoreBusyError

HOLDER = """
import sys
from pathlib import Path
from chatledger.adapters.persistence.lock import DataFolderLock

with DataFolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_another_process_is_refused_by_name_of_folder_and_holder(tmp_path: Path) -> None:
    with holder(tmp_path / "ledger.db") as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusyError) as refusal, DataFolderLock(tmp_path / "ledger.db"):
            pass
        assert str(tmp_path) in str(refusal.value)
        assert f"process {process.pid}" in str(refusal.value)


def test_what_this_process_holds_another_is_refused(tmp_path: Path) -> None:
    with DataFolderLock(tmp_path / "ledger.db"), holder(tmp_path / "ledger.db") as process:
        _, errors = process.communicate()
        assert process.returncode == 1
        assert f"StoreBusyError: {tmp_path} is in use by another server, process {os.getpid()}" in errors.decode()


def test_leaving_lets_go(tmp_path: Path) -> None:
    with holder(tmp_path / "ledger.db") as process:
        assert process.stdout.readline() == b"held\n"
        process.communicate()
        assert process.returncode == 0
        with DataFolderLock(tmp_path / "ledger.db"):
            pass
    with DataFolderLock(tmp_path / "ledger.db"):
        pass


def test_kill_9_lets_go(tmp_path: Path) -> None:
    with holder(tmp_path / "ledger.db") as process:
        assert process.stdout.readline() == b"held\n"
        process.kill()
        process.wait()
        with DataFolderLock(tmp_path / "ledger.db"):
            pass


def test_a_second_one_in_the_same_process_is_refused_by_any_path(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with DataFolderLock(tmp_path / "data" / "ledger.db"):
        for folder in ("data", "link", "data/../link"):
            with pytest.raises(StoreBusyError, match=f"process {os.getpid()}"):
                DataFolderLock(tmp_path / folder / "ledger.db").__enter__()
        with DataFolderLock(tmp_path / "data" / "other.db"):
            pass


def test_a_second_one_is_refused_even_where_the_file_system_would_grant_it(tmp_path: Path) -> None:
    with DataFolderLock(tmp_path / "ledger.db") as lock:
        fcntl.flock(lock._descriptor, fcntl.LOCK_UN)
        with pytest.raises(StoreBusyError):
            DataFolderLock(tmp_path / "ledger.db").__enter__()
    with DataFolderLock(tmp_path / "ledger.db"):
        pass


def test_a_refusal_takes_nothing_from_the_holder(tmp_path: Path) -> None:
    lock = DataFolderLock(tmp_path / "ledger.db")
    with lock:
        refused = DataFolderLock(tmp_path / "ledger.db")
        with pytest.raises(StoreBusyError):
            refused.__enter__()
        refused.__exit__(None, None, None)
        with holder(tmp_path / "ledger.db") as process:
            assert b"StoreBusyError" in process.communicate()[1]
    with lock:
        pass


def test_the_database_itself_is_not_touched(tmp_path: Path) -> None:
    with DataFolderLock(tmp_path / "ledger.db"):
        assert not (tmp_path / "ledger.db").exists()
        engine = sqlite_engine(tmp_path / "ledger.db")
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE a (b)")
        engine.dispose()
    assert (tmp_path / "ledger.db.lock").stat().st_mode & 0o777 == 0o600
