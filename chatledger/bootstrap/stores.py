"""A store for those who only read, repair or migrate it; nothing answers messages there."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from functools import partial
from uuid import UUID

import msgspec
import sqlalchemy as sa

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.master import MasterKeyError
from chatledger.adapters.keys.notary_memory import StoredNotaryMemory
from chatledger.adapters.persistence.database import Database, database_at
from chatledger.adapters.persistence.deliveries import SqlStandings
from chatledger.adapters.persistence.exported import SqlExportedLedger
from chatledger.adapters.persistence.migrate import HEAD_REVISION, require_current, schema_revision, upgrade
from chatledger.adapters.persistence.read_models import SqlReadModels, remove_leftovers
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore, write_transaction
from chatledger.adapters.persistence.tables import HEAD
from chatledger.adapters.persistence.tracking import RunWriting
from chatledger.adapters.persistence.transaction import EventTypes, SqlTransaction
from chatledger.adapters.persistence.views import SqlViews
from chatledger.adapters.persistence.views.belongings import SqlBelongingsViews
from chatledger.adapters.persistence.views.dead_letters import SqlDeadLetterViews
from chatledger.adapters.persistence.views.endpoints import SqlEndpointViews
from chatledger.adapters.persistence.views.erasure import SqlErasureViews
from chatledger.application.audit.access_request import AccessRequests
from chatledger.application.audit.importing import Importing
from chatledger.application.commands.rebuilding import Rebuilding
from chatledger.application.ledger.catching_up import CatchingUp
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.log import LedgerLog
from chatledger.application.ledger.origins import Origins
from chatledger.application.ledger.projections import Projections
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.files import BlobStore
from chatledger.application.ports.storage import SchemaError, Update
from chatledger.application.queries.dead_letters import DeadLetters
from chatledger.application.system_clock import SystemClock, new_id
from chatledger.bootstrap.blobs import blob_store, blobs_to_read
from chatledger.bootstrap.data_folder import KEY_STORE, alone, make_folders, open_key_store, open_keyring, require_keys
from chatledger.bootstrap.erased_keys import destroy_erased_keys
from chatledger.settings import Settings

OPERATIONAL_STATE = ("leases",)
SECONDS_FOR_A_COMMAND = 3_600.0

SECONDS_TO_CATCH_UP = 3.0
"""What a node of this release has to move its read models: it looks twice a second."""

PAUSE = 0.1


class Reading(msgspec.Struct, frozen=True):
    """A store that is open for reading, whoever else may be writing to it."""

    reader: Reader
    keyring: StoredKeyring
    codec: EventCodec
    projections: Projections
    views: SqlViews
    dead_letters: DeadLetters
    exported: SqlExportedLedger
    access_requests: AccessRequests
    erasures: SqlErasureViews
    log: LedgerLog
    origins: Origins
    endpoints: SqlEndpointViews
    standings: SqlStandings


class ForImport(msgspec.Struct, frozen=True):
    """A store that is open for an import; nothing runs beside it.

    Attributes:
        finish: destroys again what the imported ledger says is erased; whether the ledger's keys are here. Blocks.
    """

    importing: Importing
    blobs: BlobStore
    finish: Callable[[], bool]


class NoStoreError(Exception):
    """There is nothing to read yet."""


@asynccontextmanager
async def open_for_reading(settings: Settings, *, may_lag: bool = False) -> AsyncIterator[Reading]:
    """Open an existing store on connections that cannot write; a server may go on beside it.

    ``may_lag`` is for whoever says by itself how far the read models are.

    Raises:
        NoStoreError: there is no store yet.
        SchemaError: the store's schema is not the one of this release, or its read models lag behind the ledger and no
            node of this release moves them.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    _require_store(settings)
    engine = database_of(settings).reading(patience=SECONDS_FOR_A_COMMAND)
    async with AsyncExitStack() as stack:
        stack.callback(engine.dispose)
        await asyncio.to_thread(require_current, engine)
        keyring = stack.enter_context(open_keyring(settings, read_only=True))
        reader = Reader(engine)
        stack.push_async_callback(asyncio.to_thread, reader.close)
        if not may_lag:
            await _require_all_shown(reader)
        await asyncio.to_thread(destroy_erased_keys, engine, keyring)
        seals, codec = RowSeals(keyring), EventCodec(keyring)

        async def read(stream_id: UUID) -> Sequence[Envelope]:
            return await reader.run(lambda transaction: codec.decode_all(transaction.read_stream(stream_id)))

        belongings, blobs = SqlBelongingsViews(reader, seals), blobs_to_read(settings)
        store = SqlLedgerStore(engine, reader)  # its connections cannot write
        yield Reading(
            reader=reader,
            keyring=keyring,
            codec=codec,
            projections=Projections(seals),
            views=SqlViews(reader, seals),
            dead_letters=DeadLetters(SqlDeadLetterViews(reader, seals), read),
            exported=SqlExportedLedger(engine),
            erasures=SqlErasureViews(reader, seals),
            access_requests=AccessRequests(belongings, read, keyring, blobs, SystemClock(), None),
            log=LedgerLog(store, codec),
            endpoints=SqlEndpointViews(reader, seals),
            standings=SqlStandings(reader),
            origins=Origins(store),
        )


async def _require_all_shown(reader: Reader) -> None:
    """Wait until the read models show all that is committed by now: a node of this release moves them in a moment."""
    head = await reader.run(lambda transaction: transaction.position())
    deadline = time.monotonic() + SECONDS_TO_CATCH_UP
    while (behind := head - await reader.run(_shown)) > 0:
        if time.monotonic() > deadline:
            raise SchemaError(
                f"another release has committed {behind:,} events that the read models of this one do not show: "
                "ask by that release, or start a node of this one"
            )
        await asyncio.sleep(PAUSE)


def _shown(transaction: SqlTransaction) -> int:
    """Up to which position; those that are not there are for others to miss."""
    moved_to = transaction.moved_to()
    return transaction.position() if moved_to is None else moved_to


@asynccontextmanager
async def open_for_repair(settings: Settings) -> AsyncIterator[Rebuilding]:
    """Open an existing store alone, bring its schema up to date, and leave its read models as they are.

    They can be made anew from there, whatever their version; nothing else runs beside that.

    Raises:
        NoStoreError: there is no store yet.
        StoreBusyError: a server has the store open.
        SchemaError: the store was written by a newer release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    async with AsyncExitStack() as stack:
        _require_store(settings)
        database = database_of(settings)
        writing = await asyncio.to_thread(stack.enter_context, alone(settings, database))
        reading = database.reading(patience=SECONDS_FOR_A_COMMAND)
        reader = Reader(reading)
        store = SqlLedgerStore(writing, reader)
        stack.push_async_callback(store.close)
        await asyncio.to_thread(upgrade, writing)
        keyring = stack.enter_context(open_keyring(settings))
        # With another ledger's keys everything would be made anew as if it were erased.
        await reader.query(lambda connection: require_keys(connection, keyring))
        await asyncio.to_thread(partial(destroy_erased_keys, reading, keyring, from_events=True))
        codec, projections = EventCodec(keyring), Projections(RowSeals(keyring))
        yield await stack.enter_async_context(
            open_rebuilding(store, writing, database, asyncio.to_thread, codec, projections, SystemClock())
        )


@asynccontextmanager
async def open_rebuilding(
    store: SqlLedgerStore,
    writing: sa.Engine,
    database: Database,
    run: RunWriting,
    codec: EventCodec,
    projections: Projections,
    clock: Clock,
    mended: Sequence[Callable[[], None]] = (),
) -> AsyncIterator[Rebuilding]:
    """The use cases of rebuilding, which are broken off at the end. A rebuild reads by a connection of its own."""

    def open_reader() -> Reader:
        return Reader(database.reading(1, patience=SECONDS_FOR_A_COMMAND), threads=1)

    rebuilding = Rebuilding(SqlReadModels(store, writing, open_reader, run), codec, projections, clock, mended)
    try:
        yield rebuilding
    finally:
        await rebuilding.close()


@asynccontextmanager
async def open_for_import(settings: Settings) -> AsyncIterator[ForImport]:
    """Open a store alone, made where there is none yet.

    Raises:
        SettingsProblemError: a folder that the settings name cannot be made, or not be written to.
        StoreBusyError: a server has the store open.
        SchemaError: the store was written by a newer release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    make_folders(settings)
    async with AsyncExitStack() as stack:
        database = database_of(settings)
        writing = await asyncio.to_thread(stack.enter_context, alone(settings, database))
        store = SqlLedgerStore(writing, Reader(database.reading()), has_one_writer=database.has_one_writer)
        stack.push_async_callback(store.close)
        await asyncio.to_thread(upgrade, writing)
        keyring = stack.enter_context(open_keyring(settings, is_alone=True))
        blobs = await asyncio.to_thread(blob_store, settings)
        await asyncio.to_thread(_take_key_store, writing, keyring)

        def finish() -> bool:
            destroy_erased_keys(writing, keyring)
            with writing.connect() as connection:
                try:
                    require_keys(connection, keyring)
                except MasterKeyError:
                    return False
            return True

        yield ForImport(Importing(store, EventCodec(keyring), Projections(RowSeals(keyring))), blobs, finish)


def _take_key_store(writing: sa.Engine, keyring: StoredKeyring) -> None:
    """Before an import begins: the key store may have come along from the ledger that was exported."""
    with writing.connect() as connection:
        position, incarnation = connection.execute(sa.select(HEAD.c.position, HEAD.c.incarnation)).one()
    if not position:
        StoredNotaryMemory(keyring.store).move(incarnation)


def begin_incarnation(settings: Settings) -> UUID:
    """Make a store that was restored from a backup another ledger; which one. Blocks.

    What was given out of the first one, cursors and checkpoints, may stand for events that this one has not got.

    Raises:
        NoStoreError: there is no store.
        StoreBusyError: a server has the store open.
        SchemaError: the store was written by a newer release.
        StorageUnavailableError: the store is in trouble; nothing was changed.
    """
    _require_store(settings)
    incarnation = new_id()
    with alone(settings, database_of(settings)) as engine, closing(open_key_store(settings)) as keys:
        upgrade(engine)
        with write_transaction(engine, EventTypes()) as transaction:
            transaction.apply([Update("head", {"singleton": 1}, {"incarnation": incarnation})])
        StoredNotaryMemory(keys).move(incarnation)
    return incarnation


def migrate(settings: Settings) -> tuple[str | None, str]:
    """Bring the store's schema up to date, from nothing if need be; the revision before, and the one now. Blocks.

    Raises:
        SettingsProblemError: a folder that the settings name cannot be made, or not be written to.
        StoreBusyError: a server has the store open.
        SchemaError: the store was written by a newer release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    make_folders(settings)
    with alone(settings, database_of(settings)) as engine, ExitStack() as stack:
        before = schema_revision(engine)
        upgrade(engine)
        keyring = stack.enter_context(open_keyring(settings, is_alone=True))
        with engine.connect() as connection:
            require_keys(connection, keyring)
        destroy_erased_keys(engine, keyring, from_events=True)
        store = SqlLedgerStore(engine, stack.enter_context(closing(Reader(engine))))
        CatchingUp(store, EventCodec(keyring), Projections(RowSeals(keyring))).run()
    return before, HEAD_REVISION


def bring_up_to_date(engine: sa.Engine) -> None:
    """The schema of this release, and nothing of a rebuild that was broken off. Blocks.

    Raises:
        SchemaError: the store was written by a newer release.
        StorageUnavailableError: the store is in trouble.
    """
    upgrade(engine)
    remove_leftovers(engine)


def database_of(settings: Settings) -> Database:
    """Where the ledger is."""
    return database_at(settings.ledger_url, settings.durability)


def _require_store(settings: Settings) -> None:
    for path in (settings.database_path, None if settings.key_store_url else settings.data_dir / KEY_STORE):
        if path is not None and not path.exists():
            raise NoStoreError(f"there is no {path} yet: `chatledger serve` or `chatledger migrate` makes a store")


def forget_operational_state(store: SqlLedgerStore) -> None:
    """Whoever is alone knows that every earlier worker is dead: its leases bind nobody."""
    with store.write() as transaction:
        transaction.clear(OPERATIONAL_STATE)
