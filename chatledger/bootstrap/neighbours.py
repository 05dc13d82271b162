"""Hearing of what other nodes do."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from chatledger.application.background import Background
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.neighbours import Neighbours
from chatledger.application.ledger.writer import Observer
from chatledger.application.ports.erasure import Forgetful
from chatledger.bootstrap.core import Core
from chatledger.domain.events import ConversationErased, EndUserErased
from chatledger.settings import Settings


async def hear_neighbours(
    stack: AsyncExitStack,
    settings: Settings,
    core: Core,
    *,
    observers: Sequence[Observer],
    forget: Sequence[Callable[[], None]],
    forgetful: Sequence[Forgetful],
    wake: Sequence[Callable[[int], None]],
) -> None:
    """Tell these of what other nodes commit, within moments, where there may be any."""
    if not settings.is_shared:
        return

    def forget_erased(changes: Sequence[Envelope]) -> None:
        # All of it: which keys are gone this process may not know yet. The rest is found on the ledger again.
        if any(isinstance(change.body, (ConversationErased, EndUserErased)) for change in changes):
            forget_content()

    def forget_content() -> None:
        for keeper in forgetful:
            keeper.forget_erased(lambda _key_id: True)

    def hear() -> None:
        loop.call_soon_threadsafe(neighbours.hear)

    writer, loop = core.writer, asyncio.get_running_loop()
    neighbours = Neighbours(
        core.store,
        core.codec,
        writer.head_position,
        observers=(*observers, forget_erased),
        forget=(*forget, forget_content),
        wake=(writer.hear_of, *wake),
    )
    writer.observe(neighbours.committed)
    background = await stack.enter_async_context(Background())
    background.start(neighbours.run)
    await asyncio.to_thread(stack.enter_context, core.database.news(hear))
