"""Every adapter of every port, each opened in a folder of its own. A new adapter joins its dictionary."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, closing, nullcontext
from pathlib import Path
from typing import NamedTuple, TypeVar

import obstore

from chatledger.adapters.checkpoint_sink.file import FileSink
from chatledger.adapters.checkpoint_sink.s3 import S3Sink
from chatledger.adapters.checkpoint_sink.webhook import WebhookSink
from chatledger.adapters.files.folder import FolderBlobStore
from chatledger.adapters.files.s3 import S3BlobStore
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.master import MasterKeyError, MasterKeyFile
from chatledger.adapters.keys.notary_memory import StoredNotaryMemory
from chatledger.adapters.keys.postgres import PostgresKeyStore
from chatledger.adapters.keys.signing import StoredSigningKeys
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.deliveries import SqlDeliveries
from chatledger.adapters.persistence.leases import PostgresLeases
from chatledger.adapters.persistence.store import SqlLedgerStore
from chatledger.adapters.persistence.tables import PROCESS_LEASES
from chatledger.adapters.persistence.tracking import SqlTracking
from chatledger.adapters.queue.in_process import InProcessLiveBus, InProcessTaskQueue
from chatledger.adapters.queue.nats_connection import NatsAccess
from chatledger.adapters.rate_limiter.in_process import InProcessRateLimiter
from chatledger.adapters.s3_buckets import open_bucket
from chatledger.adapters.webhooks.sender import HttpWebhookSender
from chatledger.application.audit.note_file import split_notes
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.files import BlobStore
from chatledger.application.ports.keys import SigningKeys
from chatledger.application.ports.leases import Leases
from chatledger.application.ports.notary import CheckpointSink, NotaryMemory
from chatledger.application.ports.rate_limiter import RateLimiter
from chatledger.application.ports.storage import LedgerStore
from chatledger.application.ports.webhooks import Deliveries
from chatledger.application.system_clock import SystemClock, new_id
from chatledger.bootstrap.checkpoint_sinks import EVERY_NETWORK
from chatledger.bootstrap.queues import Queues, nats_queues, postgres_queues
from tests.persistence.stores import open_store
from tests.support.databases import connection_to
from tests.support.master_keys import master_key
from tests.support.receiver import Answer, Hook, Receiver
from tests.support.s3 import BUCKET, S3Server

T = TypeVar("T")

SYSTEM_CLOCK = SystemClock()

Opener = Callable[..., AbstractAsyncContextManager]


class Followed(NamedTuple):
    """A ledger, and what each process that follows it opens for itself."""

    ledger: SqlLedgerStore
    open_tracking: Callable[[], SqlTracking]


class Kept(NamedTuple):
    """A sink, what it has kept so far, in order, and how its place goes away and comes back."""

    sink: CheckpointSink
    notes: Callable[[], Awaitable[list[bytes]]]
    go_away: Callable[[], object]
    come_back: Callable[[], object]


class QueueKind(NamedTuple):
    """How a process opens its queue and its bus, at the place that a fixture of this name gives to all of them."""

    open: Opener
    place: str | None = None


class NatsPlace(NamedTuple):
    """Servers, and what everything there begins its name with."""

    urls: tuple[str, ...]
    root: str


class Withheld(NamedTuple):
    """A ledger's store, and what it takes no write inside of."""

    ledger: LedgerStore
    trouble: Callable[[], AbstractContextManager[None]]


@asynccontextmanager
async def in_process_queues(place: None, *, bound: int, lease: float) -> AsyncIterator[Queues]:
    yield Queues(InProcessTaskQueue(bound), InProcessLiveBus())


def queues_over_nats(place: NatsPlace, *, bound: int, lease: float) -> AbstractAsyncContextManager[Queues]:
    return nats_queues(NatsAccess(urls=place.urls), place.root, name="tests", lease=lease, bound=bound)


@asynccontextmanager
async def stored_keyring(folder: Path, url: str | None, secret: bytes | None = None) -> AsyncIterator[StoredKeyring]:
    """Under this master key; without one, under the one that it has."""
    master = MasterKeyFile(folder / "master.key") if secret is None else master_key(folder, secret)
    with closing(SqliteKeyStore(folder / "keys.db") if url is None else PostgresKeyStore(url, "relaxed")) as store:
        yield StoredKeyring(store, master, new_id)


@asynccontextmanager
async def stored_signing_keys(
    folder: Path, url: str | None, secret: bytes, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[SigningKeys]:
    async with stored_keyring(folder, url, secret) as keyring:
        yield StoredSigningKeys(keyring, clock, "passports")


@asynccontextmanager
async def stored_notary_memory(folder: Path, url: str | None) -> AsyncIterator[NotaryMemory]:
    async with stored_keyring(folder, url) as keyring:
        yield StoredNotaryMemory(keyring.store)


@asynccontextmanager
async def sql_ledger_store(folder: Path, url: str | None) -> AsyncIterator[LedgerStore]:
    with open_store(folder, url) as store:
        ledger: SqlLedgerStore = store.ledger
        yield ledger


@asynccontextmanager
async def withheld_sql_ledger_store(folder: Path, url: str | None) -> AsyncIterator[Withheld]:
    with open_store(folder, url) as store:
        yield Withheld(store.ledger, store.held_by_another)


@asynccontextmanager
async def sql_trackings(folder: Path, url: str | None) -> AsyncIterator[Followed]:
    with open_store(folder, url) as store, ThreadPoolExecutor(2) as pool:
        beside = store.database.shared() if not store.database.has_one_writer else nullcontext(store.writing)

        async def run(work: Callable[[], T]) -> T:
            return await asyncio.get_running_loop().run_in_executor(pool, work)

        with beside as writing:
            yield Followed(store.ledger, lambda: SqlTracking(writing, store.ledger._reader, run, store.clock))


@asynccontextmanager
async def sql_deliveries(folder: Path, url: str | None) -> AsyncIterator[Deliveries]:
    with open_store(folder, url) as store:
        yield SqlDeliveries(store.writing, store.ledger._reader, asyncio.to_thread)


@asynccontextmanager
async def postgres_leases(url: str) -> AsyncIterator[Sequence[Leases]]:
    """Two nodes on one ledger."""
    nodes = [PostgresLeases(database_at(url).beside("leases")) for _ in range(2)]
    try:
        yield nodes
    finally:
        await asyncio.gather(*(node.close() for node in nodes))
        with connection_to(url) as connection:
            connection.execute(PROCESS_LEASES.delete())


@asynccontextmanager
async def in_process_rate_limiter(folder: Path) -> AsyncIterator[RateLimiter]:
    yield InProcessRateLimiter()


@asynccontextmanager
async def folder_blobs(folder: Path) -> AsyncIterator[BlobStore]:
    yield FolderBlobStore(folder / "files")


@asynccontextmanager
async def s3_blobs(folder: Path) -> AsyncIterator[BlobStore]:
    with S3Server(folder / "s3") as server:
        yield S3BlobStore(server.bucket("some/where"))


@asynccontextmanager
async def file_sink(folder: Path) -> AsyncIterator[Kept]:
    place, elsewhere = folder / "there", folder / "elsewhere"
    await asyncio.to_thread(place.mkdir)

    async def notes() -> list[bytes]:
        file = place / "checkpoints"
        return [*split_notes(file.read_bytes())] if file.exists() else []

    yield Kept(FileSink(place / "checkpoints"), notes, lambda: place.rename(elsewhere), lambda: elsewhere.rename(place))


@asynccontextmanager
async def s3_sink(folder: Path) -> AsyncIterator[Kept]:
    with S3Server(folder / "s3") as server:
        bucket, elsewhere = server.folder / BUCKET, server.folder / "elsewhere"
        store = open_bucket(server.bucket("some/where"))

        async def notes() -> list[bytes]:
            listed = await obstore.list(store).collect_async()
            names = sorted(entry["path"] for entry in listed)
            return [bytes(await (await obstore.get_async(store, name)).bytes_async()) for name in names]

        yield Kept(
            S3Sink(server.bucket("some/where")),
            notes,
            lambda: bucket.rename(elsewhere),
            lambda: elsewhere.rename(bucket),
        )


@asynccontextmanager
async def webhook_sink(folder: Path) -> AsyncIterator[Kept]:
    async with Receiver() as receiver:
        sink = WebhookSink(receiver.url, HttpWebhookSender(SYSTEM_CLOCK, allowed=EVERY_NETWORK))
        taken: list[bytes] = []

        def take(hook: Hook) -> Answer:
            taken.append(hook.body)
            return Answer()

        def refuse(_: Hook) -> Answer:
            return Answer(503)

        async def notes() -> list[bytes]:
            return list(taken)

        receiver.reply = take
        yield Kept(sink, notes, lambda: setattr(receiver, "reply", refuse), lambda: setattr(receiver, "reply", take))
        await sink.close()


QUEUES: dict[str, QueueKind] = {
    "in process": QueueKind(in_process_queues),
    "postgres": QueueKind(postgres_queues, "queue_database"),
    "nats": QueueKind(queues_over_nats, "nats_place"),
}
BLOB_STORES: dict[str, Opener] = {"folder": folder_blobs, "s3": s3_blobs}
CHECKPOINT_SINKS: dict[str, Opener] = {"file": file_sink, "s3": s3_sink, "webhook": webhook_sink}
KEYRINGS: dict[str, Opener] = {"stored": stored_keyring}
SIGNING_KEYS: dict[str, Opener] = {"stored": stored_signing_keys}
NOTARY_MEMORIES: dict[str, Opener] = {"stored": stored_notary_memory}
LEDGER_STORES: dict[str, Opener] = {"sql": sql_ledger_store}
WITHHELD_LEDGER_STORES: dict[str, Opener] = {"sql": withheld_sql_ledger_store}
TRACKINGS: dict[str, Opener] = {"sql": sql_trackings}
DELIVERIES: dict[str, Opener] = {"sql": sql_deliveries}
LEASES: dict[str, Opener] = {"postgres": postgres_leases}
RATE_LIMITERS: dict[str, Opener] = {"in process": in_process_rate_limiter}

REFUSED_MASTER_KEY = MasterKeyError
