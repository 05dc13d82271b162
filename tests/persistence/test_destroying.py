"""A key store that is away while keys are to be destroyed: others get on with the ledger."""

import asyncio
from collections.abc import Collection
from uuid import UUID

import pytest

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.application.erasure.destroying import Destroying
from chatledger.application.ledger.catching_up import CatchingUp
from chatledger.application.ports.storage import StorageUnavailableError, Transaction
from tests.persistence.stores import Store


def choose(_: Transaction) -> Collection[UUID]:
    raise AssertionError("the ledger's lock is taken, and kept for the key store")


@pytest.fixture
def destroying(store: Store) -> Destroying:
    catching_up = CatchingUp(store.ledger, store.codec, store.projections)
    return Destroying(store.ledger, catching_up, store.keyring, asyncio.to_thread, ())


async def test_the_ledgers_lock_is_not_asked_for_where_the_key_store_is_away(
    store: Store, destroying: Destroying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoredKeyring, "is_current", False)
    store.keyring.close()
    with store.held_by_another(), pytest.raises(StorageUnavailableError, match="key store"):
        await destroying.destroy(choose)


async def test_the_ledgers_lock_is_not_taken_where_others_write_to_the_key_store_for_long(
    destroying: Destroying, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_busy(_: StoredKeyring) -> None:
        raise StorageUnavailableError("others are at it")

    monkeypatch.setattr(StoredKeyring, "require_writable", is_busy)
    with pytest.raises(StorageUnavailableError, match="others are at it"):
        await destroying.destroy(choose)


async def test_a_key_store_that_went_away_while_the_lock_was_waited_for_is_not_asked(
    destroying: Destroying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoredKeyring, "is_current", False)
    with pytest.raises(StorageUnavailableError, match="said nothing for long"):
        await destroying.destroy(choose)
