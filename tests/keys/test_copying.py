"""Keys that go from a file into a database, and back."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from chatledger.adapters.keys.copying import OtherKeysError, copy_keys, has_all_keys
from chatledger.adapters.keys.key_store import KeyStore
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.notary_memory import StoredNotaryMemory
from chatledger.adapters.keys.postgres import PostgresKeyStore
from chatledger.adapters.keys.signing import StoredSigningKeys
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.application.ports.keys import KeyDestroyedError, SigningKey
from chatledger.application.system_clock import SystemClock, new_id
from tests.support.databases import ON_POSTGRES
from tests.support.master_keys import master_key

pytestmark = ON_POSTGRES

MASTER, OTHER = bytes(range(32)), bytes(range(32, 64))

Open = Callable[[], KeyStore]


class StopError(Exception):
    """What breaks a copy off."""


def no_progress(_done: int, _total: int) -> None:
    pass


@pytest.fixture(params=["into the database", "into the file"])
def places(request: pytest.FixtureRequest, keys_url: str, tmp_path: Path) -> tuple[Open, Open]:
    """Where keys are, and where they are to be."""
    file, database = lambda: SqliteKeyStore(tmp_path / "keys.db"), lambda: PostgresKeyStore(keys_url, "relaxed")
    return (file, database) if request.param == "into the database" else (database, file)


def opened(store: KeyStore, folder: Path, secret: bytes = MASTER) -> StoredKeyring:
    return StoredKeyring(store, master_key(folder, secret, f"{secret[0]}.key"), new_id)


def living(store: KeyStore) -> set[bytes]:
    return {key_id for key_id, wrapped in store.read("SELECT key_id, wrapped FROM keys") if any(wrapped)}


def test_all_goes_along_and_what_is_destroyed_stays_so(places: tuple[Open, Open], tmp_path: Path) -> None:
    """The target has been opened before, under a master key that is no more."""
    with closing(places[0]()) as source, closing(places[1]()) as target:
        keyring, foreign = opened(source, tmp_path), opened(target, tmp_path, OTHER)
        person, gone, erased = (keyring.new_key(None) for _ in range(3))
        conversation = keyring.new_key(person.key_id)
        keyring.make_durable([person, gone, erased, conversation])
        keyring.destroy([gone.key_id])
        foreign.destroy([erased.key_id])  # as an import does of whoever the ledger says is erased
        keyring.rotate_key(person.key_id)
        keyring.agree(7)
        StoredSigningKeys(foreign, SystemClock(), "passports")
        signing = StoredSigningKeys(keyring, SystemClock(), "passports").newest()
        ledger = StoredNotaryMemory(source).settle(new_id())
        StoredNotaryMemory(source).remember("log", b"note", instead_of=None)

        seen: list[tuple[int, int]] = []
        assert copy_keys(source, target, lambda done, total: seen.append((done, total))) == 6
        assert seen[-1] == (6, 6)
        assert has_all_keys(target, source)

        copied = opened(target, tmp_path)
        assert copied.lookup("app", "ada") == keyring.lookup("app", "ada")
        sealed = keyring.key(conversation.key_id).seal(b"text", b"")
        assert copied.key(conversation.key_id).open(sealed, b"") == b"text"
        for key in (gone, erased):
            with pytest.raises(KeyDestroyedError):
                copied.key(key.key_id)
        assert copied.agreed_position == 7
        assert StoredSigningKeys(copied, SystemClock(), "passports").newest() == signing
        memory = StoredNotaryMemory(target)
        assert (memory.incarnation(), memory.recall("log")) == (ledger, b"note")
        assert copied.rotate_master_key() == 3  # nothing is left that the other master key wraps


def test_what_two_have_opened_at_once_and_never_used_gives_way(places: tuple[Open, Open], tmp_path: Path) -> None:
    with closing(places[0]()) as source, closing(places[1]()) as target, closing(places[1]()) as beside:
        keyring, first, second = opened(source, tmp_path), opened(target, tmp_path), opened(beside, tmp_path)

        class Outrun(StoredSigningKeys):
            """Sees that there are none, and then somebody else makes the first one."""

            def _load(self) -> dict[UUID, SigningKey]:
                known = super()._load()
                self.faster = None if known else StoredSigningKeys(second, SystemClock(), "passports")
                return known

        assert Outrun(first, SystemClock(), "passports").newest()
        signing = StoredSigningKeys(keyring, SystemClock(), "passports").newest()
        assert copy_keys(source, target, no_progress) == 2
        assert StoredSigningKeys(opened(target, tmp_path), SystemClock(), "passports").newest() == signing


def test_other_keys_are_left_alone_and_later_ones_stay(places: tuple[Open, Open], tmp_path: Path) -> None:
    with closing(places[0]()) as source, closing(places[1]()) as target:
        keyring = opened(source, tmp_path)
        kept, erased = keyring.new_key(None), keyring.new_key(None)
        keyring.make_durable([kept, erased])
        copy_keys(source, target, no_progress)
        copied = opened(target, tmp_path)
        later = copied.new_key(kept.key_id)
        copied.make_durable([later])
        copied.destroy([erased.key_id])
        StoredNotaryMemory(target).remember("log", b"later", instead_of=None)

        before = living(target)
        copy_keys(source, target, no_progress)
        assert living(target) == before
        assert StoredNotaryMemory(target).recall("log") == b"later"
        with pytest.raises(OtherKeysError, match="has other keys"):
            copy_keys(target, source, no_progress)
        assert erased.key_id.bytes in living(source)


def test_a_copy_that_is_broken_off_leaves_nothing(
    places: tuple[Open, Open], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatledger.adapters.keys.copying.PAGE", 2)
    with closing(places[0]()) as source, closing(places[1]()) as target:
        keyring = opened(source, tmp_path)
        keyring.make_durable([keyring.new_key(None) for _ in range(6)])

        def stop(done: int, total: int) -> None:
            if done > total // 2:
                raise StopError

        with pytest.raises(StopError):
            copy_keys(source, target, stop)
        assert not living(target)
        assert copy_keys(source, target, no_progress) == 7


def test_what_is_removed_is_destroyed(places: tuple[Open, Open], tmp_path: Path) -> None:
    with closing(places[0]()) as source:
        keyring = opened(source, tmp_path)
        StoredSigningKeys(keyring, SystemClock(), "passports")
        keyring.destroy([keyring.new_key(None).key_id])
        in_a_file = isinstance(source, SqliteKeyStore)
        if in_a_file:
            (tmp_path / "what was left").hardlink_to(tmp_path / "keys.db")
        source.remove()
    if in_a_file:
        assert not (tmp_path / "keys.db").exists()
        with closing(sqlite3.connect(tmp_path / "what was left")) as left:
            rows = left.execute("SELECT wrapped FROM keys").fetchall()
        assert len(rows) == 3
        assert not any(any(wrapped) for (wrapped,) in rows)
    with closing(places[0]()) as again:
        for table in ("keys", "changes", "agreement", "signing_keys", "ledger", "last_notes"):
            assert not again.read(f"SELECT * FROM {table}")
