"""The middle of an open chatledger: the ledger with its keys, its rows and its writer, before anybody uses it."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import msgspec
from sqlalchemy import Engine

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.signing import StoredSigningKeys
from chatledger.adapters.persistence.database import Database
from chatledger.adapters.persistence.database_clock import DatabaseClock
from chatledger.adapters.persistence.open_ledgers import lent_ledger
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore
from chatledger.adapters.persistence.versions import SqlVersions
from chatledger.adapters.persistence.views import SqlViews
from chatledger.application.background import Background
from chatledger.application.ledger.catching_up import CatchingUp
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ledger.projections import Projections
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ledger.side_by_side import SideBySide
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.clock import Clock
from chatledger.application.system_clock import SystemClock, new_id
from chatledger.bootstrap.data_folder import as_server, open_keys, require_keys
from chatledger.bootstrap.erased_keys import destroy_erased_keys
from chatledger.bootstrap.stores import bring_up_to_date, database_of, forget_operational_state
from chatledger.settings import Settings


class Core(msgspec.Struct, frozen=True):
    """What all use cases stand on. ``writing`` is for the writer's thread alone."""

    clock: Clock
    database: Database
    writing: Engine
    reader: Reader
    store: SqlLedgerStore
    keyring: StoredKeyring
    signing_keys: StoredSigningKeys
    codec: EventCodec
    seals: RowSeals
    projections: Projections
    catching_up: CatchingUp
    views: SqlViews
    writer: GroupCommitWriter
    ledger: Ledger


async def open_core(stack: AsyncExitStack, settings: Settings, *, hot_messages: int) -> Core:
    """Open the store for the one server that may have it, or for one of its nodes, and begin to commit.

    Raises:
        StorageUnavailableError: the store is in trouble, or its database cannot be reached.
        StoreBusyError: another server has the store or the data folder open.
        SchemaError: the store was written by a newer release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    machine, database = SystemClock(), database_of(settings)
    shared_clock = DatabaseClock(machine) if settings.is_shared else None
    clock = shared_clock or machine
    writing = await asyncio.to_thread(stack.enter_context, as_server(settings, database))
    await asyncio.to_thread(bring_up_to_date, writing)
    lent = lent_ledger(settings.ledger_url, database, settings.durability, writing, clock, new_id)
    stack.enter_context(lent)
    keyring, signing_keys = await asyncio.to_thread(stack.enter_context, open_keys(settings, clock))
    reading = database.reading()
    reader = Reader(reading)
    store = SqlLedgerStore(writing, reader, has_one_writer=database.has_one_writer)
    stack.push_async_callback(store.close)
    await reader.query(lambda connection: require_keys(connection, keyring))
    await asyncio.to_thread(destroy_erased_keys, reading, keyring)
    codec, seals = EventCodec(keyring), RowSeals(keyring)
    projections = Projections(seals)
    catching_up = CatchingUp(store, codec, projections)
    await asyncio.to_thread(catching_up.run)
    if not settings.is_shared:
        await asyncio.to_thread(forget_operational_state, store)
    writer = GroupCommitWriter(store, codec, keyring, projections, clock, asyncio.get_running_loop())
    writer.start((await store.head()).position)
    stack.push_async_callback(writer.close)
    if shared_clock is not None:
        await reader.query_as_it_is(shared_clock.read)
        versions = SqlVersions(reader, writing, writer.run_alone)
        side_by_side = SideBySide(versions, writer.catch_up, clock)
        reader.catch_up_first(side_by_side.may_lag, writer.catch_up)
        stack.callback(reader.catch_up_first, lambda: False, writer.catch_up)
        background = await stack.enter_async_context(Background())
        background.start(side_by_side.run, partial(shared_clock.run, reader))
    return Core(
        clock=clock,
        database=database,
        writing=writing,
        reader=reader,
        store=store,
        keyring=keyring,
        signing_keys=signing_keys,
        codec=codec,
        seals=seals,
        projections=projections,
        catching_up=catching_up,
        views=SqlViews(reader, seals),
        writer=writer,
        ledger=Ledger(store, codec, keyring, writer, new_id, hot_messages=hot_messages, is_shared=settings.is_shared),
    )
