"""What is added to each token where one process answers and another is followed, beside one process that does both.

As in ``streams_at_pace`` the generator, which is in the worker's process, writes into each token when it was due.
"""

from contextlib import ExitStack

from benchmarks.figure import Figure, median_ratio, spread
from benchmarks.loads import Outcome
from benchmarks.nodes import MEASURED_ON, Queue, cores, each_queue, nodes, told
from benchmarks.servers import chatledger, drive
from benchmarks.stores import Options, empty_store
from benchmarks.streams_at_pace import INTERVAL_MS, LAUNCHER, PACE, paced

NAME = "added delay per token across nodes"
DATABASES = MEASURED_ON
WARM_UP = 1


def measure(options: Options) -> list[Figure]:
    """All stand side by side, each with a store of its own, and take turns."""
    streams = options.choose(full=100, quick=100, tiny=3)
    tokens = PACE * options.choose(full=5, quick=3, tiny=1)
    script = {"tokens": tokens, "interval_ms": INTERVAL_MS}
    load = paced(streams, tokens, options)
    with ExitStack() as running:
        queues = running.enter_context(each_queue(options))
        alone = running.enter_context(empty_store(options))
        one = running.enter_context(chatledger(alone, script, launcher=LAUNCHER))
        many = [running.enter_context(nodes(options, queue, script, launcher=LAUNCHER)) for queue in queues]
        turns = [
            [drive(one, load), *(started.drive(load) for started in many)]
            for _ in range(options.choose(full=4, quick=2, tiny=2))
        ]
    of_one, *across = zip(*turns[WARM_UP:], strict=True)
    return [_figure(queue, streams, found, of_one) for queue, found in zip(queues, across, strict=True)]


def _figure(queue: Queue, streams: int, across: tuple[Outcome, ...], of_one: tuple[Outcome, ...]) -> Figure:
    p99, p99_of_one = ([outcome.delays.p99 for outcome in runs] for runs in (across, of_one))
    found, one = (sorted(runs, key=lambda run: run.delays.p99)[len(runs) // 2] for runs in (across, of_one))
    return Figure(
        name=f"{NAME}, over {queue.name}, {streams} streams x {PACE} tokens/s, p99",
        measured=f"{spread(p99, '.1f')} ms; p50 {found.delays.p50:.1f}; first token p50 {found.first_token.p50:.1f}; "
        f"{told(cores(found))}; {found.frames / found.tokens:.2f} frames per token",
        floor=f"one process: {spread(p99_of_one, '.1f')} ms; p50 {one.delays.p50:.1f}; "
        f"first token p50 {one.first_token.p50:.1f}; {told(cores(one))}",
        ratio=median_ratio(p99, p99_of_one),
        less_is_better=True,
        detail={"runs": list(across), "one_process": list(of_one)},
    )
