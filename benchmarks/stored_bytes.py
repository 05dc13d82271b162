"""Stored bytes per byte of answer, and what each event adds to its text, at the paces of usual providers.

A paced stream becomes one event per flush, so pieces of the size that a flush then has are appended without waiting.
"""

import asyncio
from pathlib import Path

import msgspec

from benchmarks.harness import Figure, Options, data_folder
from benchmarks.ledgers import begin, complete, opened, raw, run
from chatledger.settings import Settings

NAME = "stored bytes"


class _Sizes(msgspec.Struct):
    total: int
    events: int
    count: int
    answers: int


def measure(options: Options) -> list[Figure]:
    """Each pace with short and with long answers."""
    flush = Settings().flush_interval_ms / 1000
    short, long = options.choose(full=(200, 2_000), quick=(200, 2_000), tiny=(10, 20))
    return [_figure(options, pace, max(1.0, pace * flush), short, long) for pace in (20, 50, 100)]


def _figure(options: Options, pace: int, tokens_per_event: float, short: int, long: int) -> Figure:
    overhead, ratios = {}, {}
    messages = options.choose(full=40, quick=40, tiny=3)
    for tokens in (short, long):
        with data_folder(options) as folder:
            before, after = run(lambda folder=folder, tokens=tokens: _grow(folder, messages, tokens, tokens_per_event))
        answers = after.answers
        overhead[tokens] = (after.events - before.events - answers) / (after.count - before.count)
        ratios[tokens] = (after.total - before.total) / answers
    return Figure(
        name=f"{NAME} at {pace} tokens/s ({tokens_per_event:g} tokens an event)",
        measured=f"{overhead[long]:.0f} an event beside its text ({overhead[short]:.0f} in answers of {short} tokens); "
        f"{ratios[long]:.1f} per byte of answer ({ratios[short]:.1f}), all files",
        floor="1 per byte of answer",
        goal="<= 150 an event, flat with length",
        met=overhead[long] <= 150 and overhead[short] <= 150 and ratios[long] <= 1.1 * ratios[short],
        detail={"overhead": overhead, "stored_per_byte": ratios},
    )


async def _grow(folder: Path, messages: int, tokens: int, tokens_per_event: float) -> tuple[_Sizes, _Sizes]:
    async with opened(folder) as running:
        first = await begin(running)
        first.message.append_chunk(1, "once")
        await running.ledger.hand_in(first.staged, context=first.context_position)
        await complete(running, first)
        before = await running.reader.query(lambda _: _sizes(folder))

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
        after = await running.reader.query(lambda _: _sizes(folder))
        after.answers = sum(said)
        return before, after


def _pieces(tokens: int, tokens_per_event: float) -> list[str]:
    pieces, done = [], 0
    while done < tokens:
        upto = min(tokens, max(done + 1, int((len(pieces) + 1) * tokens_per_event)))
        pieces.append("word " * (upto - done))
        done = upto
    return pieces


def _sizes(folder: Path) -> _Sizes:
    """After a checkpoint; what belongs to the events is their table with its indexes."""
    data = folder / "data"
    total = 0
    for name in ("ledger.db", "keys.db"):
        connection = raw(data / name)
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        (pages,), (free,), (size,) = (
            connection.execute(f"PRAGMA {pragma}").fetchone()
            for pragma in ("page_count", "freelist_count", "page_size")
        )
        total += (pages - free) * size
        connection.close()
    connection = raw(data / "ledger.db")
    (events,) = connection.execute(
        "SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_schema WHERE tbl_name = 'events')"
    ).fetchone()
    (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()
    return _Sizes(total, events, count, 0)
