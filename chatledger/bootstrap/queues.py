"""The task queue and the live bus, as the settings want them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from chatledger.adapters.queue.in_process import MAX_QUEUED, InProcessLiveBus, InProcessTaskQueue
from chatledger.application.background import Background
from chatledger.application.ports.queue import LiveBus, TaskQueue
from chatledger.settings import Settings, SettingsProblemError


class Queues(msgspec.Struct, frozen=True):
    """How work and news travel."""

    tasks: TaskQueue
    bus: LiveBus


@asynccontextmanager
async def open_queues(settings: Settings) -> AsyncIterator[Queues]:
    """Open what the settings name, which is reached by the time that it is needed, or waited for.

    Raises:
        SettingsProblemError: it is none that this release knows.
    """
    match settings.queue:
        case "in_process":
            yield Queues(InProcessTaskQueue(), InProcessLiveBus())
        case "postgres":
            async with postgres_queues(settings.ledger_url, lease=settings.lease) as queues:
                yield queues
        case other:
            raise SettingsProblemError(f"queue: {other}: not there yet")


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
