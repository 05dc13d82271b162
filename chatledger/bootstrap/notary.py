"""The notary of a ledger, and those who keep what it signs."""

import asyncio
from contextlib import AsyncExitStack

import msgspec

from chatledger.adapters.keys.ed25519 import Ed25519Signatures
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.notary_memory import StoredNotaryMemory
from chatledger.adapters.keys.signing import StoredSigningKeys
from chatledger.adapters.persistence.notary import SqlNotaryStore
from chatledger.adapters.persistence.store import Reader
from chatledger.application.audit.delivering import CheckpointDelivery
from chatledger.application.audit.extending import Extending
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
    signing_keys: StoredSigningKeys


async def log_origin(settings: Settings, store: NotaryStore, keyring: StoredKeyring) -> str:
    """The name of the ledger's log: another one after a restore, as it is another log then.

    The key store says which one it is: whoever has the database could have it take another name.
    """
    own = await asyncio.to_thread(StoredNotaryMemory(keyring.store).incarnation)
    return f"{settings.ledger_name}/{own or await store.incarnation()}"


async def _signing_keys(keyring: StoredKeyring, clock: Clock, origin: str) -> StoredSigningKeys:
    """Each log has secrets of its own, so what was signed for one is never a signature for another."""
    return await asyncio.to_thread(StoredSigningKeys, keyring, clock, f"notary {origin}")


async def extending_of(settings: Settings, store: NotaryStore, keyring: StoredKeyring, clock: Clock) -> Extending:
    """What looks at the ledger as the notary does, for those who only read."""
    origin = await log_origin(settings, store, keyring)
    keys = NotaryKeys(await _signing_keys(keyring, clock, origin), Ed25519Signatures(), origin)
    return Extending(store, keys, StoredNotaryMemory(keyring.store))


async def open_notary(
    settings: Settings, ledger: Ledger, reader: Reader, keyring: StoredKeyring, clock: Clock, stack: AsyncExitStack
) -> OpenNotary:
    """Put it together. Nothing is signed yet."""
    store = SqlNotaryStore(reader)
    memory = StoredNotaryMemory(keyring.store)
    await asyncio.to_thread(memory.settle, await store.incarnation())
    origin = await log_origin(settings, store, keyring)
    signing_keys = await _signing_keys(keyring, clock, origin)
    keys = NotaryKeys(signing_keys, Ed25519Signatures(), origin)
    delivery = None
    if (sink := checkpoint_sink(settings, clock)) is not None:
        stack.push_async_callback(sink.close)
        delivery = CheckpointDelivery(ledger, store, sink, clock)
    notarizing = Notarizing(ledger, store, keys, memory, clock)
    if delivery is not None:
        notarizing.observe(delivery.wake)
    return OpenNotary(
        notarizing, Proving(store, keys.origin), Standing(notarizing, store, delivery), delivery, store, signing_keys
    )
