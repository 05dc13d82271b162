"""What a message takes: for itself, and for each event of it, beside its text. ``scripts/scaling.py`` counts with that.

The same answers are stored in few pieces and in many, whose commits are shared by many conversations. The difference
is what an event takes; the rest is the message's: its row with its indexes, its share of a conversation and of the
person's keys. Text counts twice: it stands in its events and in the message's row. On PostgreSQL the write-ahead log is
told too.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from benchmarks.bare import Bare, bare, sqlite_file, used_bytes
from benchmarks.figure import Figure
from benchmarks.ledgers import Open, hold, opened, run
from benchmarks.stores import Options, Store, empty_store
from chatledger.application.system_clock import new_id
from chatledger.bootstrap import Running

NAME = "bytes of a message"

MESSAGES_OF_A_CONVERSATION = 6
TEXT = "word " * 288


class _Size(msgspec.Struct, frozen=True):
    """Bytes stored and logged so far, and the number of events."""

    stored: int
    logged: int
    events: int


def measure(options: Options) -> list[Figure]:
    """One row: the line through two numbers of pieces."""
    conversations = options.choose(full=50, quick=50, tiny=2)
    (few_events, few), (many_events, many) = (
        _grow(options, conversations, pieces) for pieces in options.choose(full=(24, 120), quick=(24, 120), tiny=(2, 6))
    )
    lines = [_line(few_events, few[number], many_events, many[number]) for number in range(2)]
    (each, beside), (logged, logged_beside) = lines
    log = f"; logged {logged:.0f} and {logged_beside:,.0f}" if options.postgres else ""
    return [
        Figure(
            name=f"{NAME} of {few_events:.1f} and of {many_events:.1f} events",
            measured=f"{each:.0f} an event and {beside - 2 * len(TEXT):,.0f} a message beside its text{log}",
            floor=f"its text, twice: {2 * len(TEXT):,}",
            ratio=few[0] / (2 * len(TEXT)),
            less_is_better=True,
            detail={"stored": lines[0], "logged": lines[1]},
        )
    ]


def _line(few: float, at_few: float, many: float, at_many: float) -> tuple[float, float]:
    """What each event adds, and what there is without any."""
    slope = (at_many - at_few) / (many - few)
    return slope, at_few - few * slope


def _grow(options: Options, conversations: int, pieces: int) -> tuple[float, Sequence[float]]:
    """Events of a message; bytes that it is stored and logged with."""
    with empty_store(options) as store:
        before, after = run(lambda: _between(store, conversations, pieces))
    messages = conversations * MESSAGES_OF_A_CONVERSATION
    found = (after.events - before.events, after.stored - before.stored, after.logged - before.logged)
    events, stored, logged = (number / messages for number in found)
    return events, (stored, logged)


async def _between(store: Store, conversations: int, pieces: int) -> tuple[_Size, _Size]:
    async with opened(store) as running:
        await _converse(running, pieces)
        before = await asyncio.to_thread(_size, store)
        await asyncio.gather(*(_converse(running, pieces) for _ in range(conversations)))
        return before, await asyncio.to_thread(_size, store)


async def _converse(running: Running, pieces: int) -> None:
    """One conversation; each piece is handed in by itself, and shares a commit with those of other conversations."""

    async def answer(answering: Open) -> None:
        for number in range(pieces):
            piece = TEXT[len(TEXT) * number // pieces : len(TEXT) * (number + 1) // pieces]
            answering.message.append_chunk(1, piece)
            await running.ledger.hand_in(answering.staged, context=answering.context_position)

    await hold(running, new_id(), new_id(), MESSAGES_OF_A_CONVERSATION, answer)


def _size(store: Store) -> _Size:
    keys = store.data / "keys.db"
    of_keys = 0
    if keys.exists():
        file = sqlite_file(keys)
        of_keys = used_bytes(file)
        file.close()
    with bare(store) as connection:
        ((events,),) = connection.select("SELECT count(*) FROM events")
        return _Size(connection.sizes().total + of_keys, _logged(connection, store), events)


def _logged(connection: Bare, store: Store) -> int:
    if store.postmaster is None:
        return 0
    ((written,),) = connection.select("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8")
    return int(written)
