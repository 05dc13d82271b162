"""The keys of a ledger, copied from the data folder into a database, or back."""

from contextlib import closing
from typing import Literal

import msgspec
import sqlalchemy as sa

from chatledger.adapters.keys.copying import Progress, copy_keys, has_all_keys
from chatledger.adapters.keys.key_store import KeyStore
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.master import MasterKeyFile
from chatledger.adapters.persistence.migrate import require_current, schema_revision
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.system_clock import new_id
from chatledger.bootstrap.data_folder import alone, key_store_at, make_folders, require_keys
from chatledger.bootstrap.stores import database_of
from chatledger.settings import Settings, SettingsProblemError

KeyPlace = Literal["database", "folder"]


class KeysCopied(msgspec.Struct, frozen=True, kw_only=True):
    """How many keys were copied, destroyed ones among them, and whether they are gone from where they were."""

    source: str
    target: str
    keys: int
    source_removed: bool


def copy_keys_to(place: KeyPlace, settings: Settings, progress: Progress, *, remove_source: bool) -> KeysCopied:
    """Copy all keys to where they are to be, and see that they open what was sealed by them. Blocks.

    Nothing else has the ledger meanwhile. Given again it does what is left to be done.

    Raises:
        SettingsProblemError: no setting names a database, or the data folder cannot be written to.
        NoKeyStoreError: there is nothing to copy.
        OtherKeysError: the target has other keys already.
        StoreBusyError: a server has the store open.
        SchemaError: the store has not the schema of this release, or a database would lose what was acknowledged.
        MasterKeyError: the master key is missing, or is not the one of the keys, or they are not those of the ledger.
        StorageUnavailableError: a database is in trouble. The target has all keys or none of them.
    """
    url = settings.key_database_url
    if url is None:
        raise SettingsProblemError("keys_url: neither this nor database_url names a PostgreSQL")
    source_url, target_url = (None, url) if place == "database" else (url, None)
    make_folders(settings)
    with alone(settings, database_of(settings)) as engine:
        with closing(key_store_at(source_url, settings, read_only=True)) as source:
            _require_opening(source, settings, engine)
            with closing(key_store_at(target_url, settings)) as target:
                count = copy_keys(source, target, progress)
            with closing(key_store_at(target_url, settings, read_only=True)) as target:
                _require_opening(target, settings, engine)
                if not has_all_keys(target, source):
                    raise StorageUnavailableError(f"{target.place} has not got all keys")
                copied = KeysCopied(source=source.place, target=target.place, keys=count, source_removed=remove_source)
        if remove_source:
            with closing(key_store_at(source_url, settings)) as source:
                source.remove()
    return copied


def _require_opening(store: KeyStore, settings: Settings, engine: sa.Engine) -> None:
    """Pass if the master key opens the keys, and they are those of the ledger, if there is one: not before an import.

    Raises:
        MasterKeyError: they are not, or it does not.
        SchemaError: the ledger has not the schema of this release.
    """
    keyring = StoredKeyring(store, MasterKeyFile(settings.master_key_path), new_id)
    if schema_revision(engine) is not None:
        require_current(engine)
        with engine.connect() as connection:
            require_keys(connection, keyring)
