"""Streams at the pace of real providers: what is added to each token, and how many streams one process holds.

The generator writes into each token when it was due, by the clock that all processes of a machine share; what the
client sees later than that is the delay. A token counts as late also where the generator itself was held up: a busy
event loop is part of the price. The floor's application stamps and paces its tokens in the same way.
"""

import sys
from collections.abc import Mapping

import msgspec

from benchmarks.figure import Figure, Share, at_least, at_most, spread
from benchmarks.loads import Load, Outcome
from benchmarks.profiles import profile
from benchmarks.servers import Server, bare_asgi, chatledger, drive
from benchmarks.stores import Options, empty_store

NAME = "streams at pace"

PACE = 20
INTERVAL_MS = 1000 // PACE
MOST_STREAMS = 2_500
BOUNDS = {50: 1_000, 250: 1_500}
"""The streams to hold within each bound on the delay, in milliseconds."""
NAME_OF_FEW, NAME_OF_MANY = "streams_at_pace_few", "streams_at_pace_many"
LAUNCHER = ("-m", "benchmarks.stamping")


class Delays(msgspec.Struct, frozen=True):
    """Milliseconds, and how many cores were busy with it: the server's process, and the database's where it has any."""

    p50: float
    p99: float
    cores: float
    database_cores: float
    frames_per_token: float


def measure(options: Options) -> list[Figure]:
    """At 100 streams first; then ever more streams until the 99th percentile is past the wider bound."""
    seconds = options.choose(full=8, quick=4, tiny=1)
    tokens = seconds * PACE
    script = {"tokens": tokens, "interval_ms": INTERVAL_MS}
    with empty_store(options) as store, bare_asgi() as floor, chatledger(store, script, launcher=LAUNCHER) as server:
        few = options.choose(full=100, quick=100, tiny=3)
        runs = options.choose(full=3, quick=1, tiny=1)
        floors, ours = [], []
        for _ in range(runs):
            floors.append(delays_of(drive(floor, paced(few, tokens, options, floor=True))))
            ours.append(delays_of(drive(server, paced(few, tokens, options))))
        few_shares = profile(options, server.pid, NAME_OF_FEW, lambda: drive(server, paced(few, tokens, options)))
        figures = [_added(few, ours, floors, few_shares)]
        if options.size != "tiny":
            figures += _capacity(options, server, floor, tokens)
    return figures


def paced(streams: int, tokens: int, options: Options, *, floor: bool = False) -> Load:
    """Streams that begin one after another; their tokens tell when they were due."""
    return Load(
        path=f"/paced/{tokens}/{INTERVAL_MS}" if floor else "/v1/chat-messages",
        streams=streams,
        tokens=tokens,
        ramp=options.choose(full=max(1.0, streams / 500), quick=max(1.0, streams / 800), tiny=0.1),
        stamped=True,
        skip_first=options.choose(full=1.0, quick=1.0, tiny=0.0),
    )


def delays_of(outcome: Outcome) -> Delays:
    """What was added to the tokens, and at what price."""
    return Delays(
        outcome.delays.p50,
        outcome.delays.p99,
        outcome.server_cpu / outcome.wall,
        outcome.database_cpu / outcome.wall,
        outcome.frames / outcome.tokens,
    )


def _added(streams: int, ours: list[Delays], floors: list[Delays], shares: list[Share]) -> Figure:
    found, floor = (sorted(runs, key=lambda run: run.p99)[len(runs) // 2] for runs in (ours, floors))
    of_database = f" and the database's {found.database_cores:.2f}" if found.database_cores else ""
    return Figure(
        name=f"added delay per token, {streams} streams x {PACE} tokens/s, p99",
        measured=f"{spread([run.p99 for run in ours], '.1f')} ms; p50 {found.p50:.1f}, "
        f"{found.cores:.2f} cores{of_database}, {found.frames_per_token:.2f} frames per token",
        floor=f"{spread([run.p99 for run in floors], '.1f')} ms; p50 {floor.p50:.1f}, {floor.cores:.2f} cores",
        ratio=found.p99 / floor.p99,
        less_is_better=True,
        goals=[at_most(found.p99, 15, " ms")],
        profile=shares,
        detail={"runs": msgspec.to_builtins(ours), "floor": msgspec.to_builtins(floors), "settings": "defaults"},
    )


def _capacity(options: Options, server: Server, floor: Server, tokens: int) -> list[Figure]:
    """Both servers at each number of streams, one after the other; then halfway between what held and what did not."""
    counts = options.choose(full=[500, 1000, 1500, 2000, 2500], quick=[1000], tiny=[])
    tried: dict[int, Delays] = {}
    floors: dict[int, Delays] = {}

    def attempt(count: int) -> None:
        print(f"    {count} streams", file=sys.stderr, flush=True)
        if count not in floors:
            floors[count] = delays_of(drive(floor, paced(count, tokens, options, floor=True)))
        tried[count] = delays_of(drive(server, paced(count, tokens, options)))

    for count in counts:
        attempt(count)
        if tried[count].p99 > 1000 and floors[count].p99 > 50:
            break
    if options.size == "full":
        for bound in BOUNDS:
            held, missed = bounds(tried, bound)
            if missed - held > 200:
                attempt((held + missed) // 2)
    shares = profile(options, server.pid, NAME_OF_MANY, lambda: drive(server, paced(1_000, tokens, options)))
    return [_held(tried, floors, bound, wanted, shares) for bound, wanted in BOUNDS.items()]


def bounds(tried: Mapping[int, Delays], bound: float) -> tuple[int, int]:
    """The most streams up to which all were within the bound, and the fewest that were not."""
    missed = min((count for count, delays in tried.items() if delays.p99 > bound), default=MOST_STREAMS)
    return max((count for count, delays in tried.items() if delays.p99 <= bound and count <= missed), default=0), missed


def _held(
    tried: dict[int, Delays], floors: dict[int, Delays], bound: float, wanted: int, shares: list[Share]
) -> Figure:
    held, floor = bounds(tried, bound)[0], bounds(floors, bound)[0]
    return Figure(
        name=f"streams at {PACE} tokens/s with p99 added delay <= {bound} ms",
        measured=f"{held:,} (p99 in ms at {curve(tried)})",
        floor=f"{floor:,} ({curve(floors)})",
        ratio=held / floor if floor else None,
        goals=[at_least(held, wanted)] if wanted <= max(tried) else [],
        profile=shares,
        detail={
            "tried": {str(count): msgspec.to_builtins(delays) for count, delays in tried.items()},
            "floor": {str(count): msgspec.to_builtins(delays) for count, delays in floors.items()},
        },
    )


def curve(runs: Mapping[int, Delays]) -> str:
    """The 99th percentile at each number of streams."""
    return ", ".join(f"{count}: {delays.p99:.0f}" for count, delays in sorted(runs.items()))
