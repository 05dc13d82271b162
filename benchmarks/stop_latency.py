"""From the request to stop a generation to the end of its stream."""

import asyncio
import random
import statistics
import time

import msgspec

from benchmarks.figure import Figure, at_most, percentile, spread
from benchmarks.ledgers import run
from benchmarks.profiles import profile
from benchmarks.servers import Server, chatledger
from benchmarks.stores import Options, empty_store
from benchmarks.wire import Connection, send_message, until_text

NAME = "stop to end of stream"

TOKENS = 400
INTERVAL_MS = 50
EARLIEST, LATEST = 0.1, 0.6
"""Seconds from its first text to the stop of a stream."""


class Stop(msgspec.Struct):
    """Milliseconds from the request: to the end of the stream, and to the answer of the request itself."""

    end: float
    answer: float


def measure(options: Options) -> list[Figure]:
    """Streams at the pace of a usual provider, each stopped at a moment of its own."""
    streams = options.choose(full=25, quick=25, tiny=3)
    rounds = options.choose(full=8, quick=4, tiny=1)
    script = {"tokens": TOKENS, "interval_ms": INTERVAL_MS}
    with empty_store(options) as store, chatledger(store, script) as server:
        run(lambda: stop_many(server, streams, 1))
        runs = [run(lambda: stop_many(server, streams, rounds)) for _ in range(options.choose(full=5, quick=3, tiny=1))]
        work = lambda: run(lambda: stop_many(server, streams, rounds))  # noqa: E731
        shares = profile(options, server.pid, "stop_latency", work)
    ends, answers = ([[getattr(stop, kind) for stop in stops] for stops in runs] for kind in ("end", "answer"))
    p99 = [percentile(times, 0.99) for times in ends]
    p50, answer_p50 = (statistics.median(statistics.median(times) for times in all_) for all_ in (ends, answers))
    answer_p99 = [percentile(times, 0.99) for times in answers]
    return [
        Figure(
            name=f"{NAME}, p99",
            measured=f"{spread(p99, '.1f')} ms; p50 {p50:.1f}",
            floor=f"the answer to the request itself: {spread(answer_p99, '.1f')} ms; p50 {answer_p50:.1f}",
            less_is_better=True,
            goals=[at_most(statistics.median(p99), 50, " ms")],
            profile=shares,
            detail={"p99": p99, "p50": p50, "answer_p99": answer_p99, "answer_p50": answer_p50, "stops": len(ends[0])},
        )
    ]


async def stop_many(
    server: Server, streams: int, rounds: int, *, asked: Server | None = None, apart: float | None = None
) -> list[Stop]:
    """Rounds of streams on a server, each stopped by a request to ``asked``, which is the same server if none is named.

    All of a round are stopped within half a second, or one after another, so many seconds ``apart``.

    Raises:
        ValueError: a stream did not end by its stop.
    """
    asked = asked or server
    stops: list[Stop] = []
    for _ in range(rounds):
        moments = [
            random.uniform(EARLIEST, LATEST) if apart is None else LATEST + number * apart for number in range(streams)
        ]
        stops += await asyncio.gather(
            *(_stop_one(server, asked, f"user {number}", moment) for number, moment in enumerate(moments))
        )
    return stops


async def _stop_one(server: Server, asked: Server, user: str, moment: float) -> Stop:
    stream = await send_message(server, user)
    events = stream.events()
    task_id = (await until_text(events))["task_id"]
    stopping = asyncio.create_task(_stop_later(asked, user, task_id, moment))
    words, last = 1, ""
    async for event in events:
        last = event["event"]
        words += len(event.get("answer", "").split())
    ended_at = time.perf_counter()
    stream.close()
    asked_at, answered_at = await stopping
    if last != "message_end" or words >= TOKENS:
        raise ValueError(f"a stream ended with {last} after {words} words")
    return Stop(1000 * (ended_at - asked_at), 1000 * (answered_at - asked_at))


async def _stop_later(server: Server, user: str, task_id: str, moment: float) -> tuple[float, float]:
    await asyncio.sleep(moment)
    asked_at = time.perf_counter()
    answer = await Connection.ask(server, "POST", f"/v1/chat-messages/{task_id}/stop", {"user": user})
    answered_at = time.perf_counter()
    answer.close()
    return asked_at, answered_at
