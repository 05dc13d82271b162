"""What an open follower of a running message costs in memory, above an open stream of a bare ASGI application."""

import asyncio
import resource
import signal
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from benchmarks.cpu import process_cpu
from benchmarks.figure import Figure, Share, at_most, median_ratio, spread
from benchmarks.ledgers import run
from benchmarks.servers import Server, bare_asgi, chatledger
from benchmarks.stores import Options, empty_store
from benchmarks.traced import TOLD
from benchmarks.wire import Connection, send_message, until_text

NAME = "open followers"

MESSAGES = 50
TOKENS = 1_000
INTERVAL_MS = 500
AT_ONCE = 50
"""Connections that are being opened at the same time."""

WARM_UP = 100
SPARE_FILES = 500
SETTLE = 2.0
"""Seconds in which a server gives back what only the opening took."""

TRACED = ("-m", "benchmarks.traced")
TOLD_WITHIN = 60.0

OpenStream = Callable[[int], Awaitable[Connection]]
Memory = Callable[[Server], float]
"""How many kilobytes a process has now."""


class _Cost(msgspec.Struct):
    """Kilobytes for each stream, and how many cores all of them together keep busy."""

    kilobytes: float
    cores: float


def measure(options: Options) -> list[Figure]:
    """Each time in servers of their own: what a process has once taken it seldom gives back."""
    count = options.choose(full=5_000, quick=1_000, tiny=20)
    _allow_files(count)
    script = {"tokens": TOKENS, "interval_ms": INTERVAL_MS}
    ours: list[_Cost] = []
    bare: list[_Cost] = []
    for _ in range(options.choose(full=3, quick=1, tiny=1)):
        with bare_asgi() as floor:
            bare.append(run(lambda floor=floor: _cost(options, floor, count, _opening_bare(floor), _memory)))
        with empty_store(options) as store, chatledger(store, script) as server:
            ours.append(run(lambda server=server: _follow(options, server, count, _memory)))
    shares = _profile(options, script, count)
    above = [mine.kilobytes - its.kilobytes for mine, its in zip(ours, bare, strict=True)]
    in_all, of_bare = ([cost.kilobytes for cost in costs] for costs in (ours, bare))
    cores, cores_of_bare = (statistics.median(cost.cores for cost in costs) for costs in (ours, bare))
    return [
        Figure(
            name=f"{count:,} {NAME}",
            measured=f"{spread(above, '.1f')} KB each above a bare stream; {statistics.median(in_all):.1f} in all, "
            f"{cores:.2f} cores",
            floor=f"{spread(of_bare, '.1f')} KB each, {cores_of_bare:.2f} cores",
            ratio=median_ratio(in_all, of_bare),
            less_is_better=True,
            goals=[at_most(statistics.median(above), 10, " KB each")],
            profile=shares,
            detail={
                "above": above,
                "costs": msgspec.to_builtins(ours),
                "floor": msgspec.to_builtins(bare),
                "messages": MESSAGES,
            },
        )
    ]


def _profile(options: Options, script: dict[str, int], count: int) -> list[Share]:
    """The lines that took the memory, where a profile is wanted."""
    if options.profile is None:
        return []
    with empty_store(options) as store, chatledger(store, script, launcher=TRACED) as server:
        told = store.folder / TOLD
        run(lambda: _follow(options, server, count, lambda server: _ask_for_lines(server, told)))
        return msgspec.json.decode(told.read_bytes(), type=list[Share])


async def _follow(options: Options, server: Server, count: int, memory: Memory) -> _Cost:
    """Followers of a few messages that are running, and have some text already."""
    messages = options.choose(full=MESSAGES, quick=MESSAGES, tiny=2)
    senders = [await send_message(server, f"user {number}") for number in range(messages)]
    ids = [(await until_text(sender.events()))["message_id"] for sender in senders]

    async def follow(number: int) -> Connection:
        return await Connection.ask(server, "GET", f"/v1/messages/{ids[number % messages]}/stream")

    cost = await _cost(options, server, count, follow, memory)
    for sender in senders:
        sender.close()
    server.kill()  # it would wait for the messages to end
    return cost


def _opening_bare(server: Server) -> OpenStream:
    async def follow(_: int) -> Connection:
        return await Connection.ask(server, "POST", f"/paced/{TOKENS}/{INTERVAL_MS}")

    return follow


async def _cost(options: Options, server: Server, count: int, follow: OpenStream, memory: Memory) -> _Cost:
    """Of so many streams that are open at the same time, and have all given some text."""
    settle = options.choose(full=SETTLE, quick=1.0, tiny=0.1)
    gate = asyncio.Semaphore(AT_ONCE)

    async def open_one(number: int) -> Connection:
        async with gate:
            stream = await follow(number)
            await until_text(stream.events())
            return stream

    async def open_many(many: int) -> list[Connection]:
        return await asyncio.gather(*(open_one(number) for number in range(many)))

    for stream in await open_many(min(WARM_UP, count)):
        stream.close()
    await asyncio.sleep(settle)
    before = memory(server)
    streams = await open_many(count)
    cpu, began = process_cpu(server.pid), time.perf_counter()
    await asyncio.sleep(settle)
    cores = (process_cpu(server.pid) - cpu) / (time.perf_counter() - began)
    after = memory(server)
    for stream in streams:
        stream.close()
    return _Cost((after - before) / count, cores)


def _memory(server: Server) -> float:
    """Kilobytes that the process has for itself."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return next(float(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:"))


def _ask_for_lines(server: Server, told: Path) -> float:
    """See ``traced.py``."""
    told.unlink(missing_ok=True)
    server.process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + TOLD_WITHIN
    while not told.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the server does not tell what it holds")
        time.sleep(0.05)
    return 0.0


def _allow_files(count: int) -> None:
    """Raise the limit on open files, which the servers inherit, as far as it goes.

    Raises:
        ValueError: that is not far enough.
    """
    needed = count + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ValueError(f"{count:,} streams need {needed:,} open files, and no more than {hard:,} are allowed")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
