"""A context that is entered and left whole, whoever is cancelled meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def kept_whole(context: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Be inside of ``context``, which lives in a task of its own.

    A cancellation of the caller cuts neither its beginning nor its end short; it is passed on right after.
    """
    is_entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    may_leave = asyncio.Event()

    async def live() -> None:
        async with context as value:
            is_entered.set_result(value)
            await may_leave.wait()

    task = asyncio.create_task(live(), name="chatledger")
    try:
        await _until_any({is_entered, task})
        if is_entered.done():
            yield is_entered.result()
    finally:
        may_leave.set()
        await _until_any({task})
        task.result()


async def _until_any(futures: "set[asyncio.Future[Any]]") -> None:
    """Wait until one of them is done; a cancellation is passed on after that."""
    cancelled: asyncio.CancelledError | None = None
    while not any(future.done() for future in futures):
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
