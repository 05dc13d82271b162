"""The data folder: made, locked, and its keys opened."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, select

from chatledger.adapters.keys.master import MasterKeyError, MasterKeyFile
from chatledger.adapters.keys.signing import SqliteSigningKeys
from chatledger.adapters.keys.store import SqliteKeyring
from chatledger.adapters.persistence.database import Database
from chatledger.adapters.persistence.lock import DataFolderLock
from chatledger.adapters.persistence.tables import APPS
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.system_clock import new_id
from chatledger.settings import Settings, SettingsProblemError

KEY_STORE = "keys.db"


def make_folders(settings: Settings) -> None:
    """Make what is not there yet, private; all of it, or nothing."""
    folders = {"data_dir": settings.data_dir}
    if settings.database_path is not None:
        folders["database_url"] = settings.database_path.parent
    with ExitStack() as undoing:
        for setting, folder in folders.items():
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            undoing.callback(_remove_empty, missing)
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                # Only a file tells: what the mode says binds neither root nor a file system that nobody writes to.
                with tempfile.TemporaryFile(dir=folder):
                    pass
            except OSError as error:
                raise SettingsProblemError(f"{setting}: {folder} cannot be written to: {error.strerror}") from error
        undoing.pop_all()


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def alone(settings: Settings, database: Database) -> Iterator[Engine]:
    """The ledger may lie outside of the data folder, with whose keys and control socket it is used."""
    with DataFolderLock(settings.data_dir / KEY_STORE), database.alone() as engine:
        yield engine


@contextmanager
def as_server(settings: Settings, database: Database) -> Iterator[Engine]:
    """As a server has the ledger: alone, or where nodes share it as one of them. The data folder is its own anyway."""
    holding = database.as_node() if settings.is_shared else database.alone()
    with DataFolderLock(settings.data_dir / KEY_STORE), holding as engine:
        yield engine


@contextmanager
def open_keyring(settings: Settings, *, read_only: bool = False) -> Iterator[SqliteKeyring]:
    """The data keys, made with their master key where there are none yet.

    Raises:
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    key_store, master_key = settings.data_dir / KEY_STORE, settings.data_dir / "master.key"
    if key_store.exists() and not master_key.exists():
        raise MasterKeyError(f"{key_store} is there, but its master key {master_key} is not")
    keyring = SqliteKeyring(key_store, MasterKeyFile(master_key), new_id, read_only=read_only)
    try:
        yield keyring
    finally:
        keyring.close()


@contextmanager
def open_keys(settings: Settings, clock: Clock) -> Iterator[tuple[SqliteKeyring, SqliteSigningKeys]]:
    """All keys of a server, as :func:`open_keyring` does."""
    with open_keyring(settings) as keyring:
        yield keyring, SqliteSigningKeys(keyring, clock, "passports")


def require_keys(connection: Connection, keyring: SqliteKeyring) -> None:
    """A ledger in a database could be opened with another folder's keys: then nothing on it could be read."""
    key_id = connection.execute(select(APPS.c.key_id).limit(1)).scalar()
    if key_id is not None:
        try:
            keyring.key(key_id)
        except KeyDestroyedError as error:
            raise MasterKeyError("the key store of this data folder is not the one of the ledger") from error
