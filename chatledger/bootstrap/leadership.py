"""Who does what one node does at a time."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from chatledger.adapters.persistence.database import Database
from chatledger.adapters.persistence.leases import PostgresLeases
from chatledger.application.background import Background
from chatledger.application.leadership import Leadership
from chatledger.application.ports.clock import Clock
from chatledger.settings import Settings


@asynccontextmanager
async def open_leadership(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[Leadership]:
    """The leases of this node, or none where it is the only one. What is done under them has ended by the end."""
    async with AsyncExitStack() as stack:
        leases = None
        if settings.is_shared:
            leases = PostgresLeases(database.beside("leases"))
            stack.push_async_callback(leases.close)
        holder = f"{settings.worker_name}:{secrets.token_hex(4)}"
        leadership = Leadership(leases, holder, clock, seconds=settings.lease, interval=settings.heartbeat)
        background = await stack.enter_async_context(Background())
        background.start(leadership.run)
        yield leadership
