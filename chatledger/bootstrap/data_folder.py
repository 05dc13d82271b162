"""The data folder: made, locked, and its keys opened."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, select

from chatledger.adapters.keys.key_store import KeyStore
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.master import GivenMasterKeyFile, MasterKeyError, MasterKeyFile
from chatledger.adapters.keys.signing import StoredSigningKeys
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.adapters.persistence.database import Database
from chatledger.adapters.persistence.lock import DataFolderLock
from chatledger.adapters.persistence.tables import APPS, STREAMS
from chatledger.adapters.persistence.transaction import SqlTransaction
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


def open_key_store(settings: Settings, *, read_only: bool = False) -> KeyStore:
    """Where the keys are, made where there is nothing yet. Whoever opens it closes it. Blocks.

    Raises:
        NoKeyStoreError: there is nothing yet, and nothing may be made.
        SchemaError: its database would lose keys that were acknowledged.
        StorageUnavailableError: it cannot be opened.
    """
    return key_store_at(settings.key_store_url, settings, read_only=read_only)


def key_store_at(url: str | None, settings: Settings, *, read_only: bool = False) -> KeyStore:
    """The same at another place: in this PostgreSQL, or, without a URL, in the data folder."""
    if url is None:
        return SqliteKeyStore(settings.data_dir / KEY_STORE, read_only=read_only)
    from chatledger.adapters.keys.postgres import PostgresKeyStore  # noqa: PLC0415 - psycopg is an extra

    return PostgresKeyStore(url, settings.durability, read_only=read_only)


@contextmanager
def open_keyring(settings: Settings, *, read_only: bool = False, is_alone: bool = False) -> Iterator[StoredKeyring]:
    """The data keys, made with their master key where there are none yet.

    Where many nodes share a ledger the master key is made only for whoever has it alone.

    Raises:
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    path = settings.master_key_path
    master = GivenMasterKeyFile(path, is_alone=is_alone) if settings.is_shared else MasterKeyFile(path)
    with closing(open_key_store(settings, read_only=read_only)) as store:
        yield StoredKeyring(store, master, new_id, is_shared=settings.is_shared)


@contextmanager
def open_keys(settings: Settings, clock: Clock) -> Iterator[tuple[StoredKeyring, StoredSigningKeys]]:
    """All keys of a server, as :func:`open_keyring` does."""
    with open_keyring(settings) as keyring:
        yield keyring, StoredSigningKeys(keyring, clock, "passports")


def require_keys(connection: Connection, keyring: StoredKeyring) -> None:
    """A ledger could be opened with the keys of another one: then nothing on it could be read.

    Raises:
        MasterKeyError: these are not its keys.
    """
    key_id = connection.execute(select(APPS.c.key_id).limit(1)).scalar()
    if key_id is None and SqlTransaction(connection).lags_behind():
        of_an_app = select(STREAMS.c.key_id).where(STREAMS.c.category == "app").order_by(STREAMS.c.number).limit(1)
        key_id = connection.execute(of_an_app).scalar()
    if key_id is not None:
        try:
            keyring.key(key_id)
        except KeyDestroyedError as error:
            raise MasterKeyError(
                f"{keyring.store.place} is not the one of the ledger; if its keys are elsewhere yet, see "
                "`chatledger keys copy`"
            ) from error
