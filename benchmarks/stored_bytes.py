"""Stored bytes per byte of answer, and what each event adds to its text, at the paces of usual providers.

A paced stream becomes one event per flush, so pieces of the size that a flush then has are appended without waiting.
"""

import asyncio
from typing import Any

import msgspec

from benchmarks.bare import bare, sqlite_file, used_bytes
from benchmarks.figure import Figure, Share, at_most
from benchmarks.ledgers import begin, complete, opened, run
from benchmarks.stores import Options, Store, empty_store
from chatledger.settings import Settings

NAME = "stored bytes"

FLATNESS = 1.1
"""How much more per byte a long answer may cost than a short one."""


class _Sizes(msgspec.Struct, frozen=True):
    """Bytes of all that is stored and of the events with their indexes, how many events there are, and their parts."""

    total: int
    events: int
    count: int
    parts: dict[str, int]


def measure(options: Options) -> list[Figure]:
    """Each pace with short and with long answers."""
    flush = Settings().flush_interval_ms / 1000
    short, long = options.choose(full=(200, 2_000), quick=(200, 1_000), tiny=(30, 60))
    return [_figure(options, pace, max(1.0, pace * flush), short, long) for pace in (20, 50, 100)]


def _figure(options: Options, pace: int, tokens_per_event: float, short: int, long: int) -> Figure:
    overhead, ratios = {}, {}
    shares: list[Share] = []
    messages = options.choose(full=40, quick=15, tiny=3)
    for tokens in (short, long):
        with empty_store(options) as store:
            before, after, answers = run(
                lambda store=store, tokens=tokens: _grow(store, messages, tokens, tokens_per_event)
            )
        overhead[tokens] = (after.events - before.events - answers) / (after.count - before.count)
        ratios[tokens] = (after.total - before.total) / answers
        shares = _shares(before, after, answers)
    return Figure(
        name=f"{NAME} at {pace} tokens/s ({tokens_per_event:g} tokens an event)",
        measured=f"{overhead[long]:.0f} an event beside its text ({overhead[short]:.0f} in answers of {short} tokens); "
        f"{ratios[long]:.1f} per byte of answer ({ratios[short]:.1f}), all files",
        floor="1 per byte of answer",
        ratio=ratios[long],
        less_is_better=True,
        goals=[
            at_most(max(overhead.values()), 150, " an event"),
            at_most(ratios[long] / ratios[short], FLATNESS, " x from short to long"),
        ],
        profile=shares if options.profile else (),
        detail={"overhead": overhead, "stored_per_byte": ratios},
    )


def _shares(before: _Sizes, after: _Sizes, answers: int) -> list[Share]:
    """Of what the events take beside the text, as a profile."""
    whole = after.events - before.events - answers
    parts: dict[str, Any] = {name: size - before.parts[name] for name, size in after.parts.items()}
    parts["sealed parts beside the text"] = parts.pop("sealed parts") - answers
    parts["numbers, ids and what the database adds to a row"] = whole - sum(parts.values())
    largest = sorted(parts.items(), key=lambda part: part[1], reverse=True)
    return [Share(name, size / whole, size / whole) for name, size in largest]


async def _grow(store: Store, messages: int, tokens: int, tokens_per_event: float) -> tuple[_Sizes, _Sizes, int]:
    """What is stored before and after so many answers, and how long they are together."""
    async with opened(store) as running:
        first = await begin(running)
        first.message.append_chunk(1, "once")
        await running.ledger.hand_in(first.staged, context=first.context_position)
        await complete(running, first)
        before = await asyncio.to_thread(_sizes, store)

        async def answer_one() -> int:
            answering = await begin(running)
            said = 0
            for piece in _pieces(tokens, tokens_per_event):
                answering.message.append_chunk(1, piece)
                said += len(piece)
                await running.ledger.hand_in(answering.staged, context=answering.context_position)
            await complete(running, answering)
            return said

        said = await asyncio.gather(*(answer_one() for _ in range(messages)))
        return before, await asyncio.to_thread(_sizes, store), sum(said)


def _pieces(tokens: int, tokens_per_event: float) -> list[str]:
    pieces, done = [], 0
    while done < tokens:
        upto = min(tokens, max(done + 1, int((len(pieces) + 1) * tokens_per_event)))
        pieces.append("word " * (upto - done))
        done = upto
    return pieces


def _sizes(store: Store) -> _Sizes:
    keys = sqlite_file(store.data / "keys.db")
    of_keys = used_bytes(keys)
    keys.close()
    with bare(store) as connection:
        sizes = connection.sizes()
        ((count, public, sealed, leaves, contexts),) = connection.select(
            "SELECT count(*), sum(length(public)), sum(length(sealed)), sum(length(leaf)), sum(length(context)) "
            "FROM events"
        )
    parts = {
        "indexes": sizes.indexes,
        "public parts": public,
        "sealed parts": sealed,
        "leaves": leaves,
        "contexts": contexts,
    }
    return _Sizes(sizes.total + of_keys, sizes.events, count, parts)
