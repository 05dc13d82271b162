"""From the request to stop, at one API process, to the end of the stream at another; a third process is answering."""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain

from benchmarks.figure import Figure, at_most, median_ratio, percentile, spread
from benchmarks.ledgers import run
from benchmarks.nodes import MEASURED_ON, Queue, each_queue, nodes
from benchmarks.servers import Server, chatledger
from benchmarks.stop_latency import INTERVAL_MS, TOKENS, Stop, stop_many
from benchmarks.stores import Options, empty_store

NAME = "stop to end of stream across nodes"
DATABASES = MEASURED_ON
BOUND_MS = 150
APART = 0.15
"""Seconds from one stop to the next, where they come one after another: one has ended before the next, mostly."""


def measure(options: Options) -> list[Figure]:
    """The same streams as those of ``stop_latency``, on one process and across nodes in turn.

    First they are stopped one after another, while the others go on; then all within half a second.
    """
    streams = options.choose(full=25, quick=25, tiny=3)
    rounds = options.choose(full=4, quick=2, tiny=1)
    turns = options.choose(full=4, quick=2, tiny=1)
    script = {"tokens": TOKENS, "interval_ms": INTERVAL_MS}
    with ExitStack() as running:
        queues = running.enter_context(each_queue(options))
        one = running.enter_context(chatledger(running.enter_context(empty_store(options)), script))
        many = [running.enter_context(nodes(options, queue, script, apis=2)) for queue in queues]
        pairs = [(one, one), *((started.apis[0], started.apis[1]) for started in many)]
        for pair in pairs:
            _stop_many(pair, streams, 1)
        apart = [[_stop_many(pair, streams, 1, APART) for pair in pairs] for _ in range(turns)]
        at_once = [[_stop_many(pair, streams, rounds) for pair in pairs] for _ in range(turns)]
    return [
        # Too few in a turn to tell what one of a hundred takes.
        *_figures(f"one of {streams} at a time", queues, [[list(chain(*turns)) for turns in zip(*apart, strict=True)]]),
        *_figures(f"{streams} within half a second", queues, at_once),
    ]


def _figures(how: str, queues: Sequence[Queue], runs: Sequence[Sequence[list[Stop]]]) -> list[Figure]:
    of_one, *across = zip(*runs, strict=True)
    return [
        _figure(f"{how}, over {queue.name}", queue, found, of_one) for queue, found in zip(queues, across, strict=True)
    ]


def _stop_many(pair: tuple[Server, Server], streams: int, rounds: int, apart: float | None = None) -> list[Stop]:
    followed, asked = pair
    return run(lambda: stop_many(followed, streams, rounds, asked=asked, apart=apart))


def _figure(how: str, queue: Queue, across: tuple[list[Stop], ...], of_one: tuple[list[Stop], ...]) -> Figure:
    p99, p99_of_one = ([percentile([stop.end for stop in stops], 0.99) for stops in runs] for runs in (across, of_one))
    p50, p50_of_one = (statistics.median(stop.end for stops in runs for stop in stops) for runs in (across, of_one))
    answer = statistics.median(stop.answer for stops in across for stop in stops)
    return Figure(
        name=f"{NAME}, {how}, p99",
        measured=f"{spread(p99, '.1f')} ms; p50 {p50:.1f}; the answer to the request itself p50 {answer:.1f}",
        floor=f"one process: {spread(p99_of_one, '.1f')} ms; p50 {p50_of_one:.1f}",
        ratio=median_ratio(p99, p99_of_one),
        less_is_better=True,
        goals=[at_most(statistics.median(p99), BOUND_MS, " ms")] if queue.is_nats else [],
        detail={"p99": p99, "p50": p50, "one_process_p99": p99_of_one, "stops": len(across[0])},
    )
