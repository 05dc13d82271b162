"""Every adapter of every port, each opened in a folder of its own. A new adapter joins its dictionary."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from chatledger.adapters.clock import new_id
from chatledger.adapters.keys.store import MasterKeyError, SqliteKeyring
from chatledger.adapters.persistence.store import SqlLedgerStore
from chatledger.adapters.queue.in_process import InProcessLiveBus, InProcessTaskQueue
from chatledger.application.ports.keys import Keyring
from chatledger.application.ports.queue import LiveBus, TaskQueue
from chatledger.application.ports.storage import LedgerStore
from tests.persistence.stores import open_store

Opener = Callable[..., AbstractAsyncContextManager]


@asynccontextmanager
async def in_process_queue(folder: Path, bound: int) -> AsyncIterator[TaskQueue]:
    yield InProcessTaskQueue(bound)


@asynccontextmanager
async def in_process_bus(folder: Path) -> AsyncIterator[LiveBus]:
    yield InProcessLiveBus()


@asynccontextmanager
async def sqlite_keyring(folder: Path, master_key: bytes) -> AsyncIterator[Keyring]:
    keyring = SqliteKeyring(folder / "keys.db", master_key, new_id)
    try:
        yield keyring
    finally:
        keyring.close()


@asynccontextmanager
async def sql_ledger_store(folder: Path, url: str | None) -> AsyncIterator[LedgerStore]:
    with open_store(folder, url) as store:
        ledger: SqlLedgerStore = store.ledger
        yield ledger


TASK_QUEUES: dict[str, Opener] = {"in process": in_process_queue}
LIVE_BUSES: dict[str, Opener] = {"in process": in_process_bus}
KEYRINGS: dict[str, Opener] = {"sqlite": sqlite_keyring}
LEDGER_STORES: dict[str, Opener] = {"sql": sql_ledger_store}

REFUSED_MASTER_KEY = MasterKeyError
