"""The task queue and the live bus, as the settings want them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from pydantic import SecretStr

from chatledger.adapters.queue.in_process import MAX_QUEUED, InProcessLiveBus, InProcessTaskQueue
from chatledger.application.background import Background
from chatledger.application.ports.queue import LiveBus, TaskQueue
from chatledger.settings import Settings

if TYPE_CHECKING:
    from chatledger.adapters.queue.nats_connection import NatsAccess


class Queues(msgspec.Struct, frozen=True):
    """How work and news travel."""

    tasks: TaskQueue
    bus: LiveBus


@asynccontextmanager
async def open_queues(settings: Settings, incarnation: UUID) -> AsyncIterator[Queues]:
    """Open what the settings name, which is reached by the time that it is needed, or waited for.

    The ledger's ``incarnation`` keeps its work and its news apart from those of others at the same place.
    """
    match settings.queue:
        case "in_process":
            yield Queues(InProcessTaskQueue(), InProcessLiveBus())
        case "nats":
            queues = nats_queues(
                _nats_access(settings),
                f"chatledger.{incarnation.hex}",
                name=f"chatledger {settings.worker_name}",
                lease=settings.lease,
                replicas=settings.nats_replicas,
            )
            async with queues as opened:
                yield opened
        case "postgres":
            async with postgres_queues(settings.ledger_url, lease=settings.lease) as queues:
                yield queues


@asynccontextmanager
async def postgres_queues(url: str, *, lease: float, bound: int = MAX_QUEUED) -> AsyncIterator[Queues]:
    """A queue and a bus in the ledger's own database; ``lease`` is in seconds."""
    from chatledger.adapters.queue.postgres_bus import PostgresLiveBus  # noqa: PLC0415 - psycopg is an extra
    from chatledger.adapters.queue.postgres_link import PostgresLink, Told  # noqa: PLC0415
    from chatledger.adapters.queue.postgres_tasks import PostgresTaskQueue  # noqa: PLC0415

    link = PostgresLink(url)
    tasks, bus = PostgresTaskQueue(link, lease=lease, bound=bound), PostgresLiveBus(link)

    def told(what: Told) -> None:
        if what.notices:
            bus.hear(what.notices)
        else:
            tasks.look()

    def missed() -> None:
        tasks.look()
        bus.rouse()

    async with AsyncExitStack() as stack:
        stack.push_async_callback(link.close)
        stack.push_async_callback(tasks.close)
        background = await stack.enter_async_context(Background())
        await link.hear(told, missed)
        background.start(tasks.run, bus.run)
        yield Queues(tasks, bus)


@asynccontextmanager
async def nats_queues(
    access: "NatsAccess", root: str, *, name: str, lease: float, replicas: int = 1, bound: int = MAX_QUEUED
) -> AsyncIterator[Queues]:
    """A queue and a bus over NATS. A server that is away is no obstacle.

    Args:
        access: where the servers are.
        root: what the names of everything begin with; all processes of one ledger have the same.
        name: what the servers know this process by.
        lease: for how many seconds work is left to a process that keeps silent.
        replicas: how many servers keep each work.
        bound: how much work may wait.
    """
    from chatledger.adapters.queue.nats_bus import NatsLiveBus  # noqa: PLC0415 - an extra, and slow to import
    from chatledger.adapters.queue.nats_connection import NatsConnection  # noqa: PLC0415
    from chatledger.adapters.queue.nats_tasks import NatsTaskQueue  # noqa: PLC0415

    connection = NatsConnection(access, name)
    tasks = NatsTaskQueue(connection, root, lease=lease, replicas=replicas, bound=bound)
    bus = NatsLiveBus(connection, root)
    async with AsyncExitStack() as stack:
        background = await stack.enter_async_context(Background())
        background.start(connection.run, tasks.pull, tasks.keep_alive, bus.run)
        stack.push_async_callback(tasks.close)
        await connection.tried()
        yield Queues(tasks, bus)


def _nats_access(settings: Settings) -> "NatsAccess":
    from chatledger.adapters.queue.nats_connection import NatsAccess  # noqa: PLC0415

    return NatsAccess(
        urls=settings.nats_url,
        user=settings.nats_user,
        password=_revealed(settings.nats_password),
        token=_revealed(settings.nats_token),
        nkey_file=settings.nats_nkey_file,
        credentials_file=settings.nats_credentials_file,
        ca_file=settings.nats_ca_file,
        certificate_file=settings.nats_certificate_file,
        key_file=settings.nats_key_file,
    )


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
