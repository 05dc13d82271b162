"""The signing keys in the key store's file: what stands in it, and what a file in trouble costs."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.master import MasterKeyFile
from chatledger.adapters.keys.signing import StoredSigningKeys
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.system_clock import SystemClock, new_id
from tests.support.master_keys import master_key

MASTER = bytes(range(100, 132))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.db"


@pytest.fixture
def signing_keys(path: Path):
    keyring = StoredKeyring(SqliteKeyStore(path), master_key(path.parent, MASTER), new_id)
    yield StoredSigningKeys(keyring, SystemClock(), "passports")
    keyring.close()


def test_no_secret_stands_in_any_file_and_each_file_is_for_its_owner_alone(
    signing_keys: StoredSigningKeys, path: Path
) -> None:
    keys = [signing_keys.newest(), *(signing_keys.rotate(forget_earlier=False) for _ in range(5))]
    files = [file for file in path.parent.iterdir() if file.name.startswith("keys.db")]
    written = b"".join(file.read_bytes() for file in files)

    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert all(key.key_id.bytes in written for key in keys)
    for secret in (MASTER, *(key.secret for key in keys)):
        assert secret not in written
        assert secret.hex().encode() not in written


def test_each_purpose_has_keys_of_its_own(path: Path) -> None:
    with closing(StoredKeyring(SqliteKeyStore(path), master_key(path.parent, MASTER), new_id)) as keyring:
        passports = StoredSigningKeys(keyring, SystemClock(), "passports")
        notary = StoredSigningKeys(keyring, SystemClock(), "notary")
        signing = notary.newest()
        passports.rotate(forget_earlier=True)
        assert passports.find(signing.key_id) is None
        assert notary.all() == StoredSigningKeys(keyring, SystemClock(), "notary").all() == [signing]


@pytest.mark.parametrize("forget_earlier", [True, False])
def test_what_cannot_be_written_has_not_changed(
    signing_keys: StoredSigningKeys, path: Path, forget_earlier: bool
) -> None:
    newest = signing_keys.newest()
    with sqlite3.connect(path) as file:
        file.execute("CREATE TRIGGER full BEFORE INSERT ON signing_keys BEGIN SELECT RAISE(ABORT, 'disk'); END")
    file.close()

    with pytest.raises(StorageUnavailableError, match="key store"):
        signing_keys.rotate(forget_earlier=forget_earlier)

    assert signing_keys.newest() == newest
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT key_id, retired_at FROM signing_keys").fetchall() == [(newest.key_id.bytes, None)]
    file.close()


def test_of_a_forgotten_key_nothing_is_left_in_any_file(signing_keys: StoredSigningKeys, path: Path) -> None:
    signing_keys.rotate(forget_earlier=False)
    with sqlite3.connect(path) as file:
        (wraps,) = zip(*file.execute("SELECT wrapped FROM keys JOIN signing_keys USING (key_id)"), strict=True)
    file.close()
    signing_keys.rotate(forget_earlier=True)
    written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert len(wraps) == 2
    assert not any(wrapped[12:28] in written for wrapped in wraps)


def test_a_key_that_was_to_be_forgotten_when_the_store_failed_is_forgotten_by_the_next_rotation(
    signing_keys: StoredSigningKeys, path: Path
) -> None:
    newest = signing_keys.newest()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        query = "SELECT wrapped FROM keys WHERE key_id = ?"
        ((wrapped,),) = file.execute(query, (newest.key_id.bytes,)).fetchall()
        file.execute("CREATE TRIGGER full BEFORE UPDATE ON keys BEGIN SELECT RAISE(ABORT, 'disk'); END")
        with pytest.raises(StorageUnavailableError, match="key store"):
            signing_keys.rotate(forget_earlier=True)
        file.execute("DROP TRIGGER full")
    with closing(StoredKeyring(SqliteKeyStore(path), MasterKeyFile(path.with_name("master.key")), new_id)) as keyring:
        StoredSigningKeys(keyring, SystemClock(), "passports").rotate(forget_earlier=True)
        assert wrapped not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_a_key_that_was_destroyed_before_it_left_the_list_is_none(signing_keys: StoredSigningKeys, path: Path) -> None:
    signing_keys.rotate(forget_earlier=False)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("CREATE TRIGGER full BEFORE DELETE ON signing_keys BEGIN SELECT RAISE(ABORT, 'disk'); END")
        with pytest.raises(StorageUnavailableError, match="key store"):
            signing_keys.rotate(forget_earlier=True)
    with closing(StoredKeyring(SqliteKeyStore(path), MasterKeyFile(path.with_name("master.key")), new_id)) as keyring:
        assert StoredSigningKeys(keyring, SystemClock(), "passports").all() == [signing_keys.newest()]
