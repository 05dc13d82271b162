"""What a host of these tests does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from chatledger import AnswerChunkAppended, AppConfiguration, Chatledger, Settings

DEADLINE = 20.0

ENDLESS = {"tokens": 1_000, "interval_ms": 3_600_000}
"""One token, and then nothing for an hour."""

LOOPS_OWN = "of-the-loop"


@asynccontextmanager
async def hosted(folder: Path, **more: Any) -> AsyncIterator[Chatledger]:
    brought = {name: more.pop(name, ()) for name in ("generators", "projections", "handlers")}
    settings = Settings(data_dir=folder / "data", **{"shutdown_grace": 0} | more)
    async with Chatledger.open(settings, **brought) as ledger:
        yield ledger


async def new_app(ledger: Chatledger, mode: Any = "chat", generator: str = "scripted", **settings: Any) -> UUID:
    configuration = AppConfiguration(generator=generator, settings=settings)
    return (await ledger.apps.create(mode, "An app", configuration)).app_id


async def first_text(ledger: Chatledger, message_id: UUID) -> str:
    async with asyncio.timeout(DEADLINE):
        async for event in ledger.messages.follow(message_id):
            if isinstance(event.body, AnswerChunkAppended):
                return event.body.text
    raise AssertionError("the answer ended without text")


class Held(NamedTuple):
    """What this process holds on to, but for the threads of the loop's own executor."""

    threads: frozenset[str]
    tasks: frozenset[Any]
    files: frozenset[str]

    @classmethod
    def now(cls) -> "Held":
        descriptors = Path("/proc/self/fd")
        files = set()
        for descriptor in descriptors.iterdir():
            try:
                file = str(descriptor.readlink())
                if not file.startswith("anon_inode:"):  # these have no name of their own, and other tests have some
                    files.add(file)
            except FileNotFoundError:  # the one that lists them
                continue
        threads = (thread.name for thread in threading.enumerate() if not thread.name.startswith(LOOPS_OWN))
        return cls(frozenset(threads), frozenset(asyncio.all_tasks()), frozenset(files))
