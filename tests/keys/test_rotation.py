"""Rotating on the disk: what is left of the former secrets, and what a kill on the way leaves."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from chatledger.adapters.keys.cipher import subkey, unwrap
from chatledger.adapters.keys.keyring import PAGE, StoredKeyring
from chatledger.adapters.keys.master import MasterKeyFile
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.application.ports.keys import SealBrokenError
from chatledger.application.system_clock import new_id
from chatledger.bootstrap.data_folder import open_keyring
from chatledger.settings import Settings
from tests.support.master_keys import master_key

MASTER = bytes(range(100, 132))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.db"


@pytest.fixture
def keyring(path: Path):
    keyring = StoredKeyring(SqliteKeyStore(path), master_key(path.parent, MASTER), new_id)
    yield keyring
    keyring.close()


def wraps_in(path: Path) -> dict[bytes, bytes]:
    with sqlite3.connect(path) as file:
        wraps: dict[bytes, bytes] = dict(file.execute("SELECT key_id, wrapped FROM keys").fetchall())
    file.close()
    return wraps


def test_of_former_wraps_nothing_is_left_in_the_file_and_the_former_master_key_opens_nothing(
    keyring: StoredKeyring, path: Path
) -> None:
    person = keyring.new_key(None)
    people = [person, *(keyring.new_key(None) for _ in range(PAGE + 100))]
    conversations = [keyring.new_key(person.key_id) for _ in range(50)]
    keyring.make_durable([*people, *conversations])
    former = wraps_in(path)

    keyring.rotate_key(person.key_id)
    assert keyring.rotate_master_key() == len(people) + 1
    keyring.scrub()
    renewed = wraps_in(path)
    written = b"".join(file.read_bytes() for file in path.parent.iterdir())

    assert former.keys() == renewed.keys()
    assert not [key_id for key_id, wrapped in former.items() if wrapped[12:28] in written]
    assert MASTER not in written
    for key_id, wrapped in renewed.items():
        with pytest.raises(SealBrokenError):
            unwrap(subkey(MASTER, b"wrapping"), wrapped, key_id)
    assert [file.name for file in path.parent.glob("master.key*")] == ["master.key"]
    assert path.with_name("master.key").stat().st_mode & 0o777 == 0o600


def test_what_was_left_beside_the_master_key_by_others_stays(keyring: StoredKeyring, path: Path) -> None:
    copy = path.with_name("master.key.backup")
    copy.write_bytes(MASTER)
    keyring.rotate_master_key()
    assert copy.read_bytes() == MASTER


def test_who_reads_beside_it_goes_on_reading(keyring: StoredKeyring, path: Path) -> None:
    first, second = keyring.new_key(None), keyring.new_key(None)
    children = [keyring.new_key(first.key_id) for _ in range(2)]
    keyring.make_durable([first, second, *children])
    reader = StoredKeyring(SqliteKeyStore(path, read_only=True), MasterKeyFile(path.with_name("master.key")), new_id)
    reader.key(children[0].key_id)
    keyring.rotate_key(first.key_id)
    keyring.rotate_master_key()
    for new in (children[1], second):
        assert reader.key(new.key_id).fingerprint(b"x") == keyring.key(new.key_id).fingerprint(b"x")
    reader.close()


@pytest.mark.parametrize(
    ("which", "where"),
    [
        ("person", "before UPDATE"),
        ("person", "before COMMIT"),
        ("person", "before PRAGMA"),
        ("master", "proposed"),
        ("master", "before COMMIT"),
        ("master", "committed"),
        ("master", "adopted"),
    ],
)
def test_a_kill_on_the_way_leaves_a_store_that_opens(
    keyring: StoredKeyring, path: Path, which: str, where: str
) -> None:
    person = keyring.new_key(None)
    keys = [person, *(keyring.new_key(person.key_id) for _ in range(3)), keyring.new_key(None)]
    keyring.make_durable(keys)
    before = [keyring.key(new.key_id).fingerprint(b"x") for new in keys]
    former = wraps_in(path)
    keyring.close()
    rotated = "master" if which == "master" else str(person.key_id)
    command = [sys.executable, "-m", "tests.keys.rotate_and_die", str(path.parent), rotated, where]
    died = subprocess.run(command, check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL

    for _ in range(2):
        after = StoredKeyring(SqliteKeyStore(path), MasterKeyFile(path.with_name("master.key")), new_id)
        assert [after.key(new.key_id).fingerprint(b"x") for new in keys] == before
        assert [file.name for file in path.parent.glob("master.key*")] == ["master.key"]
        written, present = b"".join(file.read_bytes() for file in path.parent.glob("keys.db*")), wraps_in(path).values()
        assert not [wrapped for wrapped in former.values() if wrapped[12:28] in written and wrapped not in present]
        after.rotate_key(person.key_id)
        after.rotate_master_key()
        after.close()


@pytest.mark.parametrize("where", ["proposed", "committed", "adopted"])
def test_a_kill_when_the_first_keys_are_made_leaves_a_folder_that_opens(path: Path, where: str) -> None:
    command = [sys.executable, "-m", "tests.keys.rotate_and_die", str(path.parent), "none", where]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    with open_keyring(Settings(data_dir=path.parent)) as keyring:
        new = keyring.new_key(None)
        keyring.make_durable([new])
        before = keyring.lookup("x", "y")
    with open_keyring(Settings(data_dir=path.parent)) as keyring:
        assert keyring.key(new.key_id)
        assert keyring.lookup("x", "y") == before
    assert [file.name for file in path.parent.glob("master.key*")] == ["master.key"]
