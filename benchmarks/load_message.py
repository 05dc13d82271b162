"""Loading a message of 4,000 events, beside a bare SELECT of its rows that opens and decodes them."""

import os
import statistics
import time
from typing import Any

from benchmarks.bare import BareReader, bare
from benchmarks.figure import Figure, at_most, median_ratio, spread
from benchmarks.ledgers import begin, opened, run, secret_of
from benchmarks.profiles import profile
from benchmarks.stores import Options, Store, empty_store
from chatledger.bootstrap import Running
from chatledger.domain.message import Message

NAME = "load a message"


def measure(options: Options) -> list[Figure]:
    """``Ledger.load``, which hops to a reader's thread and folds, against both floors in turn."""
    events = options.choose(full=4_000, quick=4_000, tiny=50)
    with empty_store(options) as store:
        message = run(lambda: _write(store, events))
        figure = run(lambda: _measure(store, message, events, options.choose(full=31, quick=11, tiny=2)))
        figure.profile = profile(options, os.getpid(), "load_message", lambda: run(lambda: _load(store, message, 100)))
    return [figure]


async def _write(store: Store, events: int) -> Message:
    async with opened(store) as running:
        answering = await begin(running)
        for number in range(events - 2):
            answering.message.append_chunk(1, f"some ten words of an answer, number {number}, and more of it ")
            if number % 50 == 0:
                await running.ledger.hand_in(answering.staged, context=answering.context_position)
        await running.ledger.hand_in(answering.staged, context=answering.context_position)
        return answering.message


async def _measure(store: Store, message: Message, events: int, repeats: int) -> Figure:
    ours: list[float] = []
    opening: list[float] = []
    plain: list[float] = []
    async with opened(store) as running:
        staged: Any = await running.ledger.load(Message, message.id)
        stream_id, key_id = message.id.bytes, staged.key_id.bytes
        with bare(store) as connection:
            floor = BareReader(connection, {key_id: secret_of(running, staged.key_id)})
            for _ in range(repeats + 2):
                opening.append(floor.stream(stream_id, key_id))
                ours.append(await _load_once(running, message))
                plain.append(floor.stream(stream_id, key_id, opens=False))
    ours, opening, plain = ([1000 * took for took in times[2:]] for times in (ours, opening, plain))
    ratio = median_ratio(ours, opening)
    return Figure(
        name=f"{NAME} of {events:,} events",
        measured=f"{spread(ours, '.1f')} ms",
        floor=f"{spread(opening, '.1f')} ms; without opening {statistics.median(plain):.1f}",
        ratio=ratio,
        less_is_better=True,
        goals=[at_most(ratio, 2, " x the floor")],
        detail={
            "milliseconds": ours,
            "floor": opening,
            "floor_without_opening": plain,
            "ratio_without_opening": median_ratio(ours, plain),
        },
    )


async def _load(store: Store, message: Message, times: int) -> None:
    async with opened(store) as running:
        for _ in range(times):
            await _load_once(running, message)


async def _load_once(running: Running, message: Message) -> float:
    began = time.perf_counter()
    staged: Any = await running.ledger.load(Message, message.id)
    took = time.perf_counter() - began
    if staged.aggregate.answer != message.answer:
        raise ValueError("the message that was loaded is not the one that was written")
    return took
