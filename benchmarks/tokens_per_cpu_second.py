"""Tokens per second of the server's CPU: 64 streams of 200 tokens, as fast as the generator can speak, durable."""

import statistics

from benchmarks.harness import (
    Figure,
    Options,
    bare_asgi,
    chatledger,
    data_folder,
    drive,
    median_ratio,
    profiled,
    spread,
)
from benchmarks.loads import Load, Outcome

NAME = "tokens per server CPU-second"


def measure(options: Options) -> list[Figure]:
    """Interleaved repeats of both servers; the ratio is the median over the pairs."""
    streams = options.choose(full=64, quick=64, tiny=4)
    tokens = options.choose(full=200, quick=200, tiny=20)
    repeats = options.choose(full=7, quick=3, tiny=1)
    load = Load(
        streams=streams,
        tokens=tokens,
        rounds=options.choose(full=40, quick=15, tiny=1),
        warm_up=options.choose(full=3, quick=3, tiny=1),
    )
    floor_load = Load(
        path=f"/instant/{tokens}", streams=streams, tokens=tokens, rounds=load.rounds, warm_up=load.warm_up
    )
    durable: list[Outcome] = []
    floors: list[Outcome] = []
    with data_folder(options) as folder, bare_asgi() as floor, chatledger(folder, {"tokens": tokens}) as server:
        for _ in range(repeats):
            floors.append(drive(floor, floor_load))
            durable.append(drive(server, load))
        with profiled(options, server, "tokens_per_cpu_second"):
            if options.profile is not None:
                drive(server, load)
    rates, floor_rates = [_rate(outcome) for outcome in durable], [_rate(outcome) for outcome in floors]
    ratio = median_ratio(rates, floor_rates)
    frames = statistics.median(outcome.frames / outcome.tokens for outcome in durable)
    return [
        Figure(
            name=f"{NAME}, durable, {streams} x {tokens}",
            measured=f"{spread(rates)}; {frames:.3f} frames per token",
            floor=f"{spread(floor_rates)}; 1 frame per token",
            ratio=ratio,
            goal=">= 100,000 and >= 1.0 of the floor",
            met=statistics.median(rates) >= 100_000 and ratio >= 1.0,
            detail={
                "rates": rates,
                "floor_rates": floor_rates,
                "frames_per_token": frames,
                "milliseconds_of_cpu_per_answer": [1000 * o.server_cpu / o.streams for o in durable],
                "tokens_per_second": [o.tokens / o.wall for o in durable],
                "floor_tokens_per_second": [o.tokens / o.wall for o in floors],
            },
        )
    ]


def _rate(outcome: Outcome) -> float:
    return outcome.tokens / outcome.server_cpu
