"""``kill -9`` of one of two workers in the middle of its answers: until their followers have the other one's text.

The followers keep their streams, which are at an API process that lives. Each answer is compared, once it has ended,
with what the generator says: whatever is lost, doubled or spliced of two attempts fails the figure.
"""

import asyncio
import time
from collections import Counter
from contextlib import ExitStack

import msgspec
import psycopg

from benchmarks.figure import Figure, at_most, spread
from benchmarks.ledgers import run
from benchmarks.nodes import MEASURED_ON, Nodes, Queue, each_queue, nodes
from benchmarks.servers import Server
from benchmarks.stores import Options
from benchmarks.take_over import BEYOND_LEASE
from benchmarks.wire import send_message, until_text
from chatledger.settings import Settings

NAME = "take-over after kill -9 of a worker"
DATABASES = MEASURED_ON
TOKENS, INTERVAL_MS = 150, 20


class _Answer(msgspec.Struct):
    """What a follower has of its message.

    Attributes:
        replaced_at: when the first text of another attempt came, if one did.
    """

    text: str
    replaced_at: float | None = None


def measure(options: Options) -> list[Figure]:
    """Over NATS, and over PostgreSQL alone; the killed worker is started again for the next time."""
    streams = options.choose(full=16, quick=16, tiny=4)
    times = options.choose(full=3, quick=1, tiny=1)
    with each_queue(options) as queues:
        return [_measure(options, queue, streams, times) for queue in queues]


def _measure(options: Options, queue: Queue, streams: int, times: int) -> Figure:
    script = {"tokens": TOKENS, "interval_ms": INTERVAL_MS, "vary_by_attempt": True}
    with nodes(options, queue, script, workers=2) as started, ExitStack() as restarted:
        found = [_take_over(started, streams, restarted) for _ in range(times)]
    last = [max(seconds) for seconds in found]
    lease = Settings.model_fields["lease"].default
    taken = [second for seconds in found for second in seconds]
    return Figure(
        name=f"{NAME}, over {queue.name}, last of its followers to have new text",
        measured=f"{spread(last, '.2f')} s; all {spread(taken, '.2f')}; {len(taken)} answers taken over and "
        f"{times * streams - len(taken)} beside them, 0 characters lost or doubled",
        floor=f"the lease: {lease:g} s",
        ratio=max(last) / lease,
        less_is_better=True,
        goals=[at_most(max(last), lease + BEYOND_LEASE, " s")],
        detail={"seconds": found},
    )


def _take_over(started: Nodes, streams: int, restarted: ExitStack) -> list[float]:
    """Seconds from the kill to new text, of each message that was the killed worker's."""
    answers, killed, killed_at = run(lambda: _kill_busiest(started, streams))
    for answer in answers:
        prefix = "a1t" if answer.replaced_at is None else "a2t"
        if answer.text != "".join(f"{prefix}{number} " for number in range(TOKENS)):
            raise ValueError(f"characters are lost, doubled or spliced: {answer.text!r}")
    started.workers[killed] = restarted.enter_context(started.start(f"worker-{killed + 1}", "worker"))
    taken = [answer.replaced_at - killed_at for answer in answers if answer.replaced_at is not None]
    if not taken:
        raise ValueError("the killed worker had nothing to lose")
    return taken


async def _kill_busiest(started: Nodes, streams: int) -> tuple[list[_Answer], int, float]:
    all_have_text = asyncio.Barrier(streams + 1)
    following = [
        asyncio.create_task(_follow(started.apis[0], f"user {number}", all_have_text)) for number in range(streams)
    ]
    await asyncio.wait([asyncio.create_task(all_have_text.wait()), *following], return_when=asyncio.FIRST_COMPLETED)
    killed = _busiest(started)
    killed_at = time.perf_counter()
    started.workers[killed].kill()
    return await asyncio.gather(*following), killed, killed_at


async def _follow(server: Server, user: str, all_have_text: asyncio.Barrier) -> _Answer:
    stream = await send_message(server, user)
    events = stream.events()
    answer = _Answer((await until_text(events))["answer"])
    await all_have_text.wait()
    async for event in events:
        if event["event"] == "message_replace":
            answer = _Answer(event["answer"], time.perf_counter())
        else:
            answer.text += event.get("answer", "")
    stream.close()
    return answer


def _busiest(started: Nodes) -> int:
    """Which of the workers has most of what runs, by the database."""
    with psycopg.connect(started.store.url) as connection:
        rows: Counter[str] = Counter(dict(connection.execute("SELECT worker, count(*) FROM leases GROUP BY worker")))
    (name, _), *_ = rows.most_common(1)
    return int(name.partition(":")[0].rpartition("-")[2]) - 1  # as in worker-2:5f3a9c01
