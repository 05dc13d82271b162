"""The task queue and the live bus, as the settings want them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from chatledger.adapters.queue.in_process import InProcessLiveBus, InProcessTaskQueue
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
        case other:
            raise SettingsProblemError(f"queue: {other}: not there yet")
