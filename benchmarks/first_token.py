"""From the request to the first frame with text, with 8 streams at once."""

import statistics

from benchmarks.harness import Figure, Options, bare_asgi, chatledger, data_folder, drive, median_ratio, profiled
from benchmarks.loads import Load, Times

NAME = "first token"

STREAMS = 8


def measure(options: Options) -> list[Figure]:
    """Two loads: all 8 requests at the same moment, and one after another, 20 ms apart."""
    tokens, rounds = 200, options.choose(full=60, quick=25, tiny=2)
    repeats, warm_up = options.choose(full=5, quick=3, tiny=1), options.choose(full=5, quick=5, tiny=1)
    figures = []
    with data_folder(options) as folder, bare_asgi() as floor, chatledger(folder, {"tokens": tokens}) as server:
        for how, ramp in (("at once", 0.0), ("20 ms apart", 0.02 * STREAMS)):
            load = Load(streams=STREAMS, tokens=tokens, rounds=rounds, warm_up=warm_up, ramp=ramp, pause=0.01)
            floor_load = Load(
                path=f"/instant/{tokens}",
                streams=STREAMS,
                tokens=tokens,
                rounds=rounds,
                warm_up=warm_up,
                ramp=ramp,
                pause=0.01,
            )
            ours: list[Times] = []
            floors: list[Times] = []
            for _ in range(repeats):
                floors.append(drive(floor, floor_load).first_token)
                ours.append(drive(server, load).first_token)
            with profiled(options, server, f"first_token_{'at_once' if not ramp else 'apart'}"):
                if options.profile is not None:
                    drive(server, load)
            figures.append(_figure(how, ours, floors))
    return figures


def _figure(how: str, ours: list[Times], floors: list[Times]) -> Figure:
    p50, floor_p50 = (statistics.median(run.p50 for run in runs) for runs in (ours, floors))
    p99, floor_p99 = (statistics.median(run.p99 for run in runs) for runs in (ours, floors))
    ratio = median_ratio([run.p50 for run in ours], [run.p50 for run in floors])
    return Figure(
        name=f"{NAME}, {STREAMS} streams {how}, p50",
        measured=f"{p50:.2f} ms (p99 {p99:.1f})",
        floor=f"{floor_p50:.2f} ms (p99 {floor_p99:.1f})",
        ratio=ratio,
        goal="<= 10 ms and <= 2 x the floor",
        met=p50 <= 10 and ratio <= 2,
        detail={"p50": p50, "p99": p99, "floor_p50": floor_p50, "floor_p99": floor_p99},
    )
