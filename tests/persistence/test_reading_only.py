"""Whoever only reads a ledger or a key store leaves its files as they are, byte for byte."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.sqlite import SqliteDatabase
from chatledger.application.ports.storage import StorageUnavailableError, StoreBusyError


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Path]:
    """A file whose last row is in its log alone, beside whoever writes to it."""
    path = tmp_path / "ledger" / "ledger.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as writing:
        writing.execute("PRAGMA journal_mode=WAL")
        writing.execute("CREATE TABLE events (position INTEGER)")
        writing.execute("INSERT INTO events VALUES (1)")
        writing.execute("PRAGMA wal_checkpoint")
        writing.execute("INSERT INTO events VALUES (2)")
        yield path


def copied(ledger: Path, folder: Path, *endings: str) -> Path:
    folder.mkdir()
    for ending in endings:
        shutil.copy(f"{ledger}{ending}", folder)
    return folder / ledger.name


def contents(path: Path) -> dict[str, bytes]:
    """What somebody may want to keep: all but the index of the log, which is made anew by whoever comes first."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}


def positions(path: Path) -> list[int]:
    engine = database_at(f"sqlite:///{path}").reading(2)
    with engine.begin() as one, engine.begin() as other:
        found = [[row[0] for row in each.exec_driver_sql("SELECT position FROM events")] for each in (one, other)]
    engine.dispose()
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("endings", [("",), ("", "-wal"), ("", "-wal", "-shm")])
def test_a_copy_keeps_its_bytes(ledger: Path, tmp_path: Path, endings: tuple[str, ...]) -> None:
    copy = copied(ledger, tmp_path / "copy", *endings)
    before = contents(copy)
    assert positions(copy) == ([1, 2] if "-wal" in endings else [1])
    after = contents(copy)
    assert {name: after[name] for name in before} == before
    assert all(not after[name] for name in after.keys() - before), "what was made is empty"


@pytest.mark.parametrize("endings", [("",), ("", "-wal")])
def test_where_nothing_can_be_made_nothing_is(ledger: Path, tmp_path: Path, endings: tuple[str, ...]) -> None:
    copy = copied(ledger, tmp_path / "copy", *endings)
    copy.parent.chmod(0o500)
    try:
        names = set(copy.parent.iterdir())
        assert positions(copy) == ([1, 2] if "-wal" in endings else [1])
        assert set(copy.parent.iterdir()) == names
    finally:
        copy.parent.chmod(0o700)


def test_it_goes_on_beside_a_server_and_takes_no_part_in_its_end(ledger: Path) -> None:
    engine = database_at(f"sqlite:///{ledger}").reading(1)
    with engine.begin() as reading, sqlite3.connect(ledger) as writing:
        count = reading.exec_driver_sql("SELECT count(*) FROM events").scalar_one()
        writing.execute("INSERT INTO events VALUES (3)")
        writing.commit()
        assert reading.exec_driver_sql("SELECT count(*) FROM events").scalar_one() == count, "one snapshot"
    assert positions(ledger) == [1, 2, 3]
    engine.dispose()


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailableError), closing(SqliteKeyStore(tmp_path / "keys.db", read_only=True)):
        pass
    assert not list(tmp_path.iterdir())


def test_a_key_store_keeps_its_bytes(tmp_path: Path) -> None:
    with closing(SqliteKeyStore(tmp_path / "keys.db")) as file, file.write() as writing:
        writing.execute("INSERT INTO agreement VALUES (1, 5)")
        copy = copied(tmp_path / "keys.db", tmp_path / "copy", "", "-wal")
    copy.chmod(0o400)
    before = contents(copy)
    with closing(SqliteKeyStore(copy, read_only=True)) as file:
        file.read("SELECT * FROM agreement")
    assert contents(copy) == before
    assert copy.stat().st_mode & 0o777 == 0o400


def test_to_ask_who_has_it_makes_nothing(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "ledger.db")
    database.require_free()
    assert not list(tmp_path.iterdir())
    with database.alone(), pytest.raises(StoreBusyError, match=f"process {os.getpid()}"):
        database.require_free()
    database.require_free()
