"""Getting an order carried out: by the running server, or by this process."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from chatledger.adapters.cli.control import NoServerError, ask_server
from chatledger.adapters.cli.orders import Order, Orders, ServerInfo
from chatledger.application.ports.storage import StoreBusyError
from chatledger.settings import Settings
from chatledger.version import __version__

T = TypeVar("T", bound=msgspec.Struct)

SECONDS_FOR_A_FREE_STORE = 5.0
SECONDS_BETWEEN_TRIES = 0.05


def deliver(
    settings: Settings,
    wanted: Order,
    outcome: type[T],
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    alone: Callable[[], T] | None = None,
) -> T:
    """Have an order carried out: by the running server, else in this process, on a store that is free.

    Args:
        settings: where the store is.
        wanted: the order.
        outcome: what comes of it.
        progress: told how far it has come.
        alone: how this process does it; by opening all of chatledger, without it.

    Raises:
        StoreBusyError: somebody has the store open and takes no orders.
        CommandFailedError: the order was refused.
    """
    deadline = time.monotonic() + SECONDS_FOR_A_FREE_STORE
    while True:
        try:
            return ask_server(settings.data_dir, wanted, outcome, progress)
        except NoServerError:
            pass
        try:
            return alone() if alone else asyncio.run(_carry_out(settings, wanted, outcome))
        except StoreBusyError:
            # A server on its way up or down, or another command at work.
            if time.monotonic() > deadline:
                raise
            time.sleep(SECONDS_BETWEEN_TRIES)


async def _carry_out(settings: Settings, wanted: Order, outcome: type[T]) -> T:
    from chatledger.bootstrap import open_chatledger  # noqa: PLC0415

    async with open_chatledger(settings, with_worker=False, with_processes=False) as running:
        orders = Orders(running, ServerInfo(os.getpid(), "", __version__))
        done = await orders.carry_out(wanted, lambda _done, _total: None)
        if not isinstance(done, outcome):
            raise TypeError(f"{type(done).__name__} came of {type(wanted).__name__}")
        return done
