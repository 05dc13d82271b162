"""How many streams at the pace of real providers two nodes hold, against one, over NATS and one PostgreSQL.

Each node serves and answers; the streams go to them in turn, and whichever node is free takes the work. Client,
database and broker stand on the same machine, so its cores may be used up before a second node has anything to add:
that is worked out from the CPU that each part used, and where there is no room the goal is not judged.
"""

import os
import sys
from contextlib import ExitStack

from benchmarks.figure import Figure, at_least, at_most
from benchmarks.loads import Outcome
from benchmarks.nodes import MEASURED_ON, Nodes, cores, nats_cluster, nodes, told
from benchmarks.stores import Options
from benchmarks.streams_at_pace import INTERVAL_MS, LAUNCHER, PACE, bounds, curve, delays_of, paced

NAME = "two nodes against one"
DATABASES = MEASURED_ON
BOUND_MS = 250
WANTED = 1.7

Tried = dict[int, Outcome]


def measure(options: Options) -> list[Figure]:
    """Ever more streams, on one node and on two in turn, until neither holds them."""
    tokens = PACE * options.choose(full=5, quick=3, tiny=1)
    script = {"tokens": tokens, "interval_ms": INTERVAL_MS}
    counts = options.choose(full=[250, 500, 750, 1_000, 1_250, 1_500], quick=[300], tiny=[3])
    with ExitStack() as running:
        nats = running.enter_context(nats_cluster())
        shapes: dict[int, Nodes] = {
            apis: running.enter_context(nodes(options, nats, script, apis=apis, workers=0, launcher=LAUNCHER))
            for apis in (1, 2)
        }
        tried: dict[int, Tried] = {1: {}, 2: {}}
        for count in counts:
            print(f"    {count} streams", file=sys.stderr, flush=True)
            for apis, started in shapes.items():
                tried[apis][count] = started.drive(paced(count, tokens, options))
            if all(outcomes[count].delays.p99 > BOUND_MS for outcomes in tried.values()):
                break
    return [_held(tried), _price(tried)]


def _held(tried: dict[int, Tried]) -> Figure:
    delays = {apis: {count: delays_of(found) for count, found in runs.items()} for apis, runs in tried.items()}
    held = {apis: bounds(runs, BOUND_MS)[0] for apis, runs in delays.items()}
    most = {apis: cores(runs[held[apis] or min(runs)]) for apis, runs in tried.items()}
    ratio = held[2] / held[1] if held[1] else None
    room = _room(most[1])
    may = f"{os.cpu_count()} cores have room for {room:.2f} x what one node held with all that is beside it"
    return Figure(
        name=f"{NAME}, streams at {PACE} tokens/s with p99 added delay <= {BOUND_MS} ms",
        measured=f"{held[2]:,} (p99 in ms at {curve(delays[2])}); {told(most[2])}; {may}",
        floor=f"one node: {held[1]:,} ({curve(delays[1])}); {told(most[1])}",
        ratio=ratio,
        goals=[at_least(ratio, WANTED, " x one node")] if ratio is not None and room >= WANTED else [],
        detail={"one": tried[1], "two": tried[2], "room": room},
    )


def _room(used: dict[str, float]) -> float:
    """How much more of the same load the machine has cores for; two nodes are never more than twice one."""
    return min(2.0, (os.cpu_count() or 1) / sum(used.values()))


def _price(tried: dict[int, Tried]) -> Figure:
    """What the nodes spend on a token: does not depend on how many cores there are."""
    count = max(count for count in tried[1] if count == min(tried[1]) or _holds(tried, count))
    spent = {apis: 1e6 * runs[count].parts_cpu["nodes"] / runs[count].tokens for apis, runs in tried.items()}
    parts = {apis: cores(runs[count]) for apis, runs in tried.items()}
    return Figure(
        name=f"{NAME}, CPU of the nodes per token, {count} streams",
        measured=f"{spent[2]:.0f} us; {told(parts[2])}",
        floor=f"one node: {spent[1]:.0f} us; {told(parts[1])}",
        ratio=spent[2] / spent[1],
        less_is_better=True,
        goals=[at_most(spent[2] / spent[1], round(2 / WANTED, 2), f" x, or two nodes cannot hold {WANTED} x")],
        detail={"one": spent[1], "two": spent[2]},
    )


def _holds(tried: dict[int, Tried], count: int) -> bool:
    return all(runs[count].delays.p99 <= BOUND_MS for runs in tried.values())
