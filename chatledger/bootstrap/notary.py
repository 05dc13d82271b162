"""The notary of a ledger, and those who keep what it signs."""

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID

import msgspec

from chatledger.adapters.keys.ed25519 import Ed25519Signatures
from chatledger.adapters.keys.notary_memory import SqliteNotaryMemory
from chatledger.adapters.keys.signing import SqliteSigningKeys
from chatledger.adapters.keys.store import SqliteKeyring
from chatledger.adapters.persistence.notary import SqlNotaryStore
from chatledger.adapters.persistence.store import Reader
from chatledger.application.audit.delivering import CheckpointDelivery
from chatledger.application.audit.notarizing import Notarizing
from chatledger.application.audit.notary_keys import NotaryKeys
from chatledger.application.audit.proving import Proving
from chatledger.application.audit.standing import Standing
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.notary import NotaryStore
from chatledger.bootstrap.checkpoint_sinks import checkpoint_sink
from chatledger.settings import Settings


class OpenNotary(msgspec.Struct, frozen=True):
    """Who signs, who proves, who tells how it goes, and who gets it out, if the settings name a sink."""

    notarizing: Notarizing
    proving: Proving
    standing: Standing
    delivery: CheckpointDelivery | None
    store: NotaryStore


async def log_origin(settings: Settings, store: NotaryStore) -> str:
    """The name of the ledger's log: another one after a restore, as it is another log then."""
    return origin_of(settings, await store.incarnation())


def origin_of(settings: Settings, incarnation: UUID) -> str:
    """The same, of the ledger of an incarnation."""
    return f"{settings.ledger_name}/{incarnation}"


async def open_notary(
    settings: Settings, ledger: Ledger, reader: Reader, keyring: SqliteKeyring, clock: Clock, stack: AsyncExitStack
) -> OpenNotary:
    """Put it together. Nothing is signed yet."""
    store = SqlNotaryStore(reader)
    origin = await log_origin(settings, store)
    signing_keys = await asyncio.to_thread(SqliteSigningKeys, keyring, clock, "notary")
    keys = NotaryKeys(signing_keys, Ed25519Signatures(), origin)
    delivery = None
    if (sink := checkpoint_sink(settings, clock)) is not None:
        stack.push_async_callback(sink.close)
        delivery = CheckpointDelivery(ledger, store, sink, clock)
    notarizing = Notarizing(ledger, store, keys, SqliteNotaryMemory(keyring.file), clock)
    if delivery is not None:
        notarizing.observe(delivery.wake)
    return OpenNotary(notarizing, Proving(store, origin), Standing(notarizing, store, delivery), delivery, store)
