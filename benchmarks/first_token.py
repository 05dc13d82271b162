"""From the request to the first frame with text, with 8 streams at once."""

import statistics

import msgspec

from benchmarks.figure import Figure, Share, at_most, median_ratio, spread
from benchmarks.loads import Load, Times
from benchmarks.profiles import profile
from benchmarks.servers import bare_asgi, chatledger, drive
from benchmarks.stores import Options, empty_store

NAME = "first token"

STREAMS = 8


def measure(options: Options) -> list[Figure]:
    """Two loads: all 8 requests at the same moment, and one after another, 20 ms apart."""
    tokens = options.choose(full=200, quick=200, tiny=20)
    rounds = options.choose(full=30, quick=8, tiny=1)
    repeats, warm_up = options.choose(full=5, quick=2, tiny=1), options.choose(full=5, quick=2, tiny=1)
    figures = []
    with empty_store(options) as store, bare_asgi() as floor, chatledger(store, {"tokens": tokens}) as server:
        for how, ramp in (("at once", 0.0), ("20 ms apart", 0.02 * STREAMS)):
            load = Load(streams=STREAMS, tokens=tokens, rounds=rounds, warm_up=warm_up, ramp=ramp, pause=0.01)
            floor_load = msgspec.structs.replace(load, path=f"/instant/{tokens}")
            ours: list[Times] = []
            floors: list[Times] = []
            for _ in range(repeats):
                floors.append(drive(floor, floor_load).first_token)
                ours.append(drive(server, load).first_token)
            name = f"first_token_{'apart' if ramp else 'at_once'}"
            shares = profile(options, server.pid, name, lambda load=load: drive(server, load))
            figures.append(_figure(how, ours, floors, shares))
    return figures


def _figure(how: str, ours: list[Times], floors: list[Times], shares: list[Share]) -> Figure:
    p50, floor_p50 = ([run.p50 for run in runs] for runs in (ours, floors))
    p99, floor_p99 = (statistics.median(run.p99 for run in runs) for runs in (ours, floors))
    ratio = median_ratio(p50, floor_p50)
    return Figure(
        name=f"{NAME}, {STREAMS} streams {how}, p50",
        measured=f"{spread(p50, '.2f')} ms; p99 {p99:.1f}",
        floor=f"{spread(floor_p50, '.2f')} ms; p99 {floor_p99:.1f}",
        ratio=ratio,
        less_is_better=True,
        goals=[at_most(statistics.median(p50), 10, " ms"), at_most(ratio, 2, " x the floor")],
        profile=shares,
        detail={"p50": p50, "p99": p99, "floor_p50": floor_p50, "floor_p99": floor_p99},
    )
