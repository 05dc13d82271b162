"""The key store's file: who may read it, what stands in it, and what is gone when a row is gone."""

import random
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from chatledger.adapters.keys import cache
from chatledger.adapters.keys.cache import CACHED_KEYS
from chatledger.adapters.keys.copying import copy_key_store
from chatledger.adapters.keys.key_store import Row
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.master import MasterKeyError, MasterKeyFile
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.system_clock import new_id
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


def reopened(path: Path, **options) -> StoredKeyring:
    return StoredKeyring(SqliteKeyStore(path, **options), MasterKeyFile(path.with_name("master.key")), new_id)


def test_every_file_is_for_its_owner_alone(keyring: StoredKeyring, path: Path) -> None:
    keyring.make_durable([keyring.new_key(None)])
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("keys.db", "keys.db-wal", "keys.db-shm", "master.key"), 0o600)


def test_no_secret_stands_in_any_file(keyring: StoredKeyring, path: Path) -> None:
    parent = keyring.new_key(None)
    secrets = [parent, *(keyring.new_key(parent.key_id) for _ in range(20))]
    keyring.make_durable(secrets)
    text = keyring.key(parent.key_id).seal(b"a planted plaintext", b"") and b"a planted plaintext"

    def scan() -> None:
        written = files_of(path)
        assert all(new.key_id.bytes in written for new in secrets)
        for secret in (MASTER, text, *(new.secret for new in secrets)):
            assert secret not in written
            assert secret.hex().encode() not in written

    scan()
    keyring.close()
    scan()


def test_without_its_parent_a_key_is_gone(keyring: StoredKeyring, path: Path) -> None:
    parent = keyring.new_key(None)
    child, sibling = keyring.new_key(parent.key_id), keyring.new_key(None)
    grandchild = keyring.new_key(child.key_id)
    keyring.make_durable([parent, child, grandchild, sibling])
    with sqlite3.connect(path) as file:
        file.execute("DELETE FROM keys WHERE key_id = ?", (parent.key_id.bytes,))
    file.close()
    after = reopened(path)
    for new in (parent, child, grandchild):
        with pytest.raises(KeyDestroyedError):
            after.key(new.key_id)
    assert after.key(sibling.key_id).open(keyring.key(sibling.key_id).seal(b"text", b""), b"") == b"text"
    after.close()


def files_of(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))


def wraps_in(path: Path) -> dict[bytes, bytes]:
    """Each key that is on the disk, and its wrapped secret."""
    with sqlite3.connect(path) as file:
        wraps: dict[bytes, bytes] = dict(file.execute("SELECT key_id, wrapped FROM keys").fetchall())
    file.close()
    return wraps


@pytest.mark.parametrize("seed", range(1))
def test_of_a_destroyed_key_no_byte_is_left_in_any_file(keyring: StoredKeyring, path: Path, seed: int) -> None:
    """Pages are split, merged and used again on the way: no copy of a row may stay behind in one."""
    chance, living, doomed = random.Random(seed), [], []
    for _ in range(8):
        for _ in range(20):
            person = keyring.new_key(None)
            family = [person, *(keyring.new_key(person.key_id) for _ in range(chance.randrange(12)))]
            keyring.make_durable(chance.sample(family, len(family)))
            living.append(family)
        wraps = wraps_in(path)
        chance.shuffle(living)
        for _ in range(chance.choice([1, 10, len(living) // 2])):
            family = living.pop()
            doomed += [wraps[new.key_id.bytes] for new in family]
            keyring.destroy([family[0].key_id])
        keyring.scrub()
        written = files_of(path)
        assert not [wrapped for wrapped in doomed if any(wrapped[at : at + 16] in written for at in range(0, 80, 16))]
    for family in living:
        for new in family:
            keyring.key(new.key_id)


def test_whoever_reads_a_key_while_it_is_destroyed_does_not_keep_it(keyring: StoredKeyring, path: Path) -> None:
    new = keyring.new_key(None)
    keyring.make_durable([new])
    reader = reopened(path)
    read, was_read, may_go_on = reader.store.read, threading.Event(), threading.Event()

    def read_slowly(*asked):
        rows = read(*asked)
        was_read.set()
        may_go_on.wait(10)
        return rows

    reader.store.read = read_slowly
    reading = threading.Thread(target=reader.key, args=[new.key_id])
    destroying = threading.Thread(target=reader.destroy, args=[[new.key_id]])
    reading.start()
    was_read.wait(10)
    destroying.start()
    destroying.join(0.2)  # it would end here if it did not wait for the one that reads
    may_go_on.set()
    for thread in (reading, destroying):
        thread.join(10)
    assert reader.cached(new.key_id) is None
    with pytest.raises(KeyDestroyedError):
        reader.key(new.key_id)
    reader.close()


def test_while_another_reads_the_log_a_destroyed_key_stays_in_it_and_that_is_told(
    keyring: StoredKeyring, path: Path
) -> None:
    new = keyring.new_key(None)
    keyring.make_durable([new])
    wrapped = wraps_in(path)[new.key_id.bytes]
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM keys").fetchall()
    keyring.destroy([new.key_id])
    with pytest.raises(StorageUnavailableError, match="its log is being read"):
        keyring.scrub()
    assert keyring.cached(new.key_id) is None
    assert wrapped in files_of(path)
    reader.close()
    keyring.scrub()
    assert wrapped not in files_of(path)


def test_a_reader_can_read_and_not_write(keyring: StoredKeyring, path: Path) -> None:
    new = keyring.new_key(None)
    keyring.make_durable([new])
    reader = reopened(path, read_only=True)
    assert reader.key(new.key_id).fingerprint(b"x") == keyring.key(new.key_id).fingerprint(b"x")
    with pytest.raises(StorageUnavailableError, match="key store"):
        reader.make_durable([reader.new_key(None)])
    reader.close()


def test_many_at_once(keyring: StoredKeyring, path: Path) -> None:
    made, line = [], threading.Barrier(8)

    def make() -> None:
        line.wait()
        for _ in range(20):
            parent = keyring.new_key(None)
            pair = [parent, keyring.new_key(parent.key_id)]
            keyring.make_durable(pair)
            made.extend(pair)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = reopened(path)
    assert len(made) == 320
    for new in made:
        assert after.key(new.key_id).fingerprint(b"x") == keyring.key(new.key_id).fingerprint(b"x")
    after.close()


def test_a_key_that_left_the_memory_is_fetched_again(keyring: StoredKeyring) -> None:
    first = keyring.new_key(None)
    keyring.make_durable([first])
    print_before = keyring.key(first.key_id).fingerprint(b"x")
    for _ in range(CACHED_KEYS):
        keyring.new_key(None)
    assert keyring.cached(first.key_id) is None
    assert keyring.key(first.key_id).fingerprint(b"x") == print_before


def test_of_a_key_that_left_the_memory_and_was_fetched_again_each_copy_ends(
    keyring: StoredKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CACHED_KEYS", 1)
    new = keyring.new_key(None)
    keyring.make_durable([new])
    copies = [keyring.key(new.key_id)]
    keyring.new_key(None)
    assert keyring.cached(new.key_id) is None
    copies.append(keyring.key(new.key_id))
    keyring.destroy([new.key_id])
    for copy in copies:
        with pytest.raises(KeyDestroyedError):
            copy.seal(b"text", b"")


def test_a_log_that_cannot_be_emptied_when_it_is_opened_is_told_of(
    keyring: StoredKeyring, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM keys").fetchall()
    reopened(path).close()
    assert "its log is being read" in caplog.text
    reader.close()
    caplog.clear()
    reopened(path).close()
    assert caplog.text == ""


# The master key


def test_the_master_key_is_made_once(tmp_path: Path) -> None:
    def secrets(name: str) -> set[bytes]:
        master = MasterKeyFile(tmp_path / name)
        master.make()
        return {secret for _, secret in master.candidates()}

    (secret,) = secrets("master.key")
    assert len(secret) == 32
    assert secrets("master.key") == {secret} != secrets("other.key")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["master.key", "other.key"]


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_what_is_no_master_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "master.key").write_bytes(content)
    with pytest.raises(MasterKeyError, match=r"master\.key does not hold a key of 32 bytes"):
        list(MasterKeyFile(tmp_path / "master.key").candidates())
    assert (tmp_path / "master.key").read_bytes() == content


def test_a_copy_of_before_is_replaced_and_nothing_else_is(keyring: StoredKeyring, path: Path, tmp_path: Path) -> None:
    """An export that was broken off after its keys were copied is taken up: then they are copied once more."""
    target, ids = tmp_path / "copy", "SELECT count(*) FROM keys"
    for _ in range(2):
        keyring.make_durable([keyring.new_key(None)])
        copy_key_store(keyring.store, target)
        with sqlite3.connect(target) as copy, sqlite3.connect(path) as original:
            assert copy.execute(ids).fetchone() == original.execute(ids).fetchone()

    (tmp_path / "theirs").mkdir()
    StoredKeyring(
        SqliteKeyStore(tmp_path / "theirs" / "keys.db"), master_key(tmp_path / "theirs", MASTER), new_id
    ).close()
    (tmp_path / "words").write_text("something else")
    (tmp_path / "nothing").touch()
    for other in (tmp_path / "theirs" / "keys.db", tmp_path / "words", tmp_path / "nothing"):
        before = other.read_bytes()
        with pytest.raises(FileExistsError):
            copy_key_store(keyring.store, other)
        assert other.read_bytes() == before


def test_a_copy_of_before_a_destruction_and_rotations_is_replaced(
    keyring: StoredKeyring, path: Path, tmp_path: Path
) -> None:
    target, person = tmp_path / "copy", keyring.new_key(None)
    keyring.make_durable([person, keyring.new_key(person.key_id), doomed := keyring.new_key(None)])
    for change in (
        lambda: keyring.destroy([doomed.key_id]),
        lambda: keyring.rotate_key(person.key_id),
        keyring.rotate_master_key,
    ):
        copy_key_store(keyring.store, target)
        change()
    copy_key_store(keyring.store, target)
    assert wraps_in(target) == wraps_in(path)


def test_a_key_store_is_not_replaced_by_its_own_copy_nor_by_one_that_has_less(
    keyring: StoredKeyring, path: Path, tmp_path: Path
) -> None:
    keyring.make_durable([keyring.new_key(None)])
    copy_key_store(keyring.store, tmp_path / "earlier")
    keyring.make_durable([keyring.new_key(None)])
    copy_key_store(keyring.store, tmp_path / "later")
    with closing(SqliteKeyStore(tmp_path / "earlier", read_only=True)) as earlier:
        for source, target in ((keyring.store, path), (earlier, tmp_path / "later")):
            before = target.stat().st_ino, wraps_in(target)
            with pytest.raises(FileExistsError):
                copy_key_store(source, target)
            assert (target.stat().st_ino, wraps_in(target)) == before


def test_keys_are_copied_and_compared_page_by_page(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatledger.adapters.keys.copying.PAGE", 3)

    class Watched(SqliteKeyStore):
        most = 0

        def read(self, query: str, *values: object) -> Sequence[Row]:
            rows = super().read(query, *values)
            self.most = max(self.most, len(rows))
            return rows

    with closing(StoredKeyring(Watched(path), master_key(tmp_path, MASTER), new_id)) as keyring:
        keyring.make_durable([keyring.new_key(None) for _ in range(10)])
        for _ in range(2):
            copy_key_store(keyring.store, tmp_path / "copy")
        assert keyring.store.most == 3
