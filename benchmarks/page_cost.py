"""A page of 20 messages: from a large store beside a small one, and from a long conversation beside a short one.

Read by the query of the route, without HTTP, whose price is the same for all pages and would hide the difference.
"""

import os
import random
import statistics
import time
from collections.abc import Sequence
from itertools import chain
from uuid import UUID

import msgspec

from benchmarks.bulk import Filled, Written, fill
from benchmarks.figure import Figure, Share, at_most, median_ratio, spread
from benchmarks.ledgers import opened, run
from benchmarks.profiles import profile
from benchmarks.stores import Options, Store, empty_store
from chatledger.application.ports.views import Page
from chatledger.bootstrap import Running

NAME = "page of 20 messages"

LENGTH = 20
LONG_CONVERSATIONS = 5
PLACES = 50
"""Pages of each kind that are read in turn."""


class _Times(msgspec.Struct):
    """Milliseconds: the median over pages that nobody has read since the store was opened, and over later readings."""

    first: float
    again: float


_Page = tuple[Running, Filled, Written, UUID | None]
_Round = dict[str, _Times]


def measure(options: Options) -> list[Figure]:
    """Both stores are open at the same time, and pages of all kinds are read in turn."""
    many = options.choose(full=1_000_000, quick=20_000, tiny=1_000)
    few = options.choose(full=1_000, quick=1_000, tiny=100)
    long = options.choose(full=10_000, quick=2_000, tiny=100)
    with empty_store(options) as large, empty_store(options) as small:
        in_large = run(lambda: fill(large, _sizes(many, [long] * LONG_CONVERSATIONS)))
        in_small = run(lambda: fill(small, _sizes(few, [])))
        rounds = [
            run(lambda: _read(options, large, in_large, small, in_small))
            for _ in range(options.choose(full=5, quick=2, tiny=1))
        ]
        work = lambda: run(lambda: _read(options, large, in_large, small, in_small))  # noqa: E731
        shares = profile(options, os.getpid(), "page_cost", work)
    return [
        _figure(f"store of {many:,} against {few:,}", rounds, "large store", "small store", shares),
        _figure(f"conversation of {long:,} against {LENGTH}", rounds, "long conversation", "large store", shares),
    ]


def _sizes(messages: int, long: list[int]) -> list[int]:
    """These conversations, and as many of the length of a page as there is room for."""
    return long + [LENGTH] * ((messages - sum(long)) // LENGTH)


async def _read(options: Options, large: Store, in_large: Filled, small: Store, in_small: Filled) -> _Round:
    times: dict[str, list[list[float]]] = {}
    async with opened(large) as of_large, opened(small) as of_small:
        places = _places(of_large, in_large, of_small, in_small)
        for _ in range(options.choose(full=20, quick=5, tiny=2)):
            for kind, pages in places.items():
                times.setdefault(kind, []).append([await _read_page(*page) for page in pages])
    return {
        kind: _Times(statistics.median(first), statistics.median(chain.from_iterable(again)))
        for kind, (first, *again) in times.items()
    }


def _places(of_large: Running, in_large: Filled, of_small: Running, in_small: Filled) -> dict[str, list[_Page]]:
    """Some pages of each kind, at random."""
    long, short = in_large.conversations[:LONG_CONVERSATIONS], in_large.conversations[LONG_CONVERSATIONS:]
    of_long = random.choices(long, k=PLACES)
    return {
        "small store": [
            (of_small, in_small, chosen, None) for chosen in random.choices(in_small.conversations, k=PLACES)
        ],
        "large store": [(of_large, in_large, chosen, None) for chosen in random.choices(short, k=PLACES)],
        "long conversation": [(of_large, in_large, chosen, None) for chosen in of_long],
        "inside a long conversation": [
            (of_large, in_large, chosen, random.choice(chosen.message_ids[LENGTH:])) for chosen in of_long
        ],
    }


async def _read_page(running: Running, filled: Filled, conversation: Written, beyond: UUID | None) -> float:
    """Milliseconds."""
    page = Page(LENGTH, beyond)
    began = time.perf_counter()
    found, _ = await running.application.history.messages(filled.reader, conversation.conversation_id, page)
    took = 1000 * (time.perf_counter() - began)
    if len(found) != LENGTH:
        raise ValueError(f"{len(found)} messages instead of {LENGTH}")
    return took


def _figure(what: str, rounds: Sequence[_Round], kind: str, beside: str, shares: Sequence[Share]) -> Figure:
    ours, floor = ([found[which].again for found in rounds] for which in (kind, beside))
    at_first, floor_at_first = ([found[which].first for found in rounds] for which in (kind, beside))
    ratio = median_ratio(ours, floor)
    inside = statistics.median(found["inside a long conversation"].again for found in rounds)
    return Figure(
        name=f"{NAME}, {what}",
        measured=f"{spread(ours, '.2f')} ms, at first {statistics.median(at_first):.2f}"
        + (f"; at a random place inside {inside:.2f}" if kind == "long conversation" else ""),
        floor=f"{spread(floor, '.2f')} ms, at first {statistics.median(floor_at_first):.2f}",
        ratio=ratio,
        less_is_better=True,
        goals=[at_most(ratio, 1.2, " x")],
        profile=shares,
        detail={
            "milliseconds": ours,
            "floor": floor,
            "at_first": at_first,
            "floor_at_first": floor_at_first,
            "ratio_at_first": median_ratio(at_first, floor_at_first),
            "inside_a_long_conversation": [found["inside a long conversation"].again for found in rounds],
        },
    )
