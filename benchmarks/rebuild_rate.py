"""Rebuilding the read models, beside a bare SELECT of the whole ledger that opens and decodes it."""

import os
import statistics
import time

from benchmarks.bare import BareReader, bare
from benchmarks.figure import Figure, at_least, median_ratio, spread
from benchmarks.ledgers import converse, opened, run, secret_of
from benchmarks.profiles import profile
from benchmarks.stores import Options, Store, empty_store
from chatledger.bootstrap import Running

NAME = "rebuild of read models"

CONVERSATION = 5
"""Messages."""
PIECES = 16
"""Of each answer: with its other events a message has 19, which is what a usual one has."""


def measure(options: Options) -> list[Figure]:
    """All read models of a ledger of conversations, which the first commits have written as a server would."""
    messages = options.choose(full=10_000, quick=1_500, tiny=20)
    with empty_store(options) as store:
        figure = run(lambda: _measure(options, store, messages))
        figure.profile = profile(options, os.getpid(), "rebuild_rate", lambda: run(lambda: _again(store)))
    return [figure]


async def _measure(options: Options, store: Store, messages: int) -> Figure:
    ours: list[float] = []
    opening: list[float] = []
    plain: list[float] = []
    async with opened(store) as running:
        keys = await converse(running, messages // CONVERSATION, CONVERSATION, PIECES)
        events = (await running.store.head()).position
        with bare(store) as connection:
            floor = BareReader(connection, {key_id.bytes: secret_of(running, key_id) for key_id in keys})
            for _ in range(options.choose(full=5, quick=3, tiny=1)):
                opening.append(events / floor.ledger())
                ours.append(events / await _rebuild(running))
                plain.append(events / floor.ledger(opens=False))
    ratio = median_ratio(ours, opening)
    return Figure(
        name=NAME,
        measured=f"{spread(ours)} events/s of {events:,}",
        floor=f"{spread(opening)}; without opening {statistics.median(plain):,.0f}",
        ratio=ratio,
        goals=[at_least(statistics.median(ours), 50_000, " events/s")],
        detail={
            "rates": ours,
            "floor_rates": opening,
            "floor_rates_without_opening": plain,
            "ratio_without_opening": median_ratio(ours, plain),
            "events": events,
        },
    )


async def _again(store: Store) -> None:
    async with opened(store) as running:
        await _rebuild(running)


async def _rebuild(running: Running) -> float:
    """Seconds for all of it: replaying, comparing with the live ones, switching and clearing up."""
    began = time.perf_counter()
    await running.application.rebuilding.rebuild()
    return time.perf_counter() - began
