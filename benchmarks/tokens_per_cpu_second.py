"""Tokens per second of the server's CPU: 64 streams of 200 tokens, as fast as the generator can speak, durable."""

import statistics

from benchmarks.figure import Figure, at_least, median_ratio, spread
from benchmarks.loads import Load, Outcome
from benchmarks.profiles import profile
from benchmarks.servers import bare_asgi, chatledger, drive
from benchmarks.stores import Options, empty_store

NAME = "tokens per server CPU-second"


def measure(options: Options) -> list[Figure]:
    """Interleaved repeats of both servers; the ratio is the median over the pairs."""
    streams = options.choose(full=64, quick=64, tiny=4)
    tokens = options.choose(full=200, quick=200, tiny=20)
    repeats = options.choose(full=7, quick=3, tiny=1)
    load = Load(
        streams=streams,
        tokens=tokens,
        rounds=options.choose(full=40, quick=8, tiny=1),
        warm_up=options.choose(full=3, quick=2, tiny=1),
    )
    floor_load = Load(
        path=f"/instant/{tokens}", streams=streams, tokens=tokens, rounds=load.rounds, warm_up=load.warm_up
    )
    durable: list[Outcome] = []
    floors: list[Outcome] = []
    with empty_store(options) as store, bare_asgi() as floor, chatledger(store, {"tokens": tokens}) as server:
        for _ in range(repeats):
            floors.append(drive(floor, floor_load))
            durable.append(drive(server, load))
        shares = profile(options, server.pid, "tokens_per_cpu_second", lambda: drive(server, load))
    rates, floor_rates = [_rate(outcome) for outcome in durable], [_rate(outcome) for outcome in floors]
    ratio = median_ratio(rates, floor_rates)
    frames = statistics.median(outcome.frames / outcome.tokens for outcome in durable)
    measured = f"{spread(rates)}; {frames:.3f} frames per token"
    with_database = [o.tokens / (o.server_cpu + o.database_cpu) for o in durable]
    goals = [at_least(statistics.median(rates), 100_000), at_least(ratio, 1.0, " of the floor")]
    if options.postgres is not None:
        # The goal is one for SQLite, whose work is in the server's process.
        goals = []
        measured += f"; with the database's CPU {statistics.median(with_database):,.0f}"
    return [
        Figure(
            name=f"{NAME}, durable, {streams} x {tokens}",
            measured=measured,
            floor=f"{spread(floor_rates)}; 1 frame per token",
            ratio=ratio,
            goals=goals,
            profile=shares,
            detail={
                "rates": rates,
                "rates_with_database": with_database,
                "floor_rates": floor_rates,
                "frames_per_token": frames,
                "milliseconds_of_cpu_per_answer": [1000 * o.server_cpu / o.streams for o in durable],
                "milliseconds_of_database_cpu_per_answer": [1000 * o.database_cpu / o.streams for o in durable],
                "tokens_per_second": [o.tokens / o.wall for o in durable],
                "floor_tokens_per_second": [o.tokens / o.wall for o in floors],
            },
        )
    ]


def _rate(outcome: Outcome) -> float:
    return outcome.tokens / outcome.server_cpu
