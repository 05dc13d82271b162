"""Durable appends per second through the group commit, beside inserts by the bare driver in batches of the same sizes.

What is appended are pieces of answers, sealed, in a SQLite file with ``synchronous=FULL``; each caller waits for its
commit before it hands in more. The floor inserts rows of the same shape into the same table, with its indexes, by
``executemany``: no sealing, no leaf, no checks, no read models, nobody to wake. The second floor seals and hashes too.
"""

import asyncio
import hashlib
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.harness import Figure, Options, data_folder, median_ratio, spread
from benchmarks.ledgers import Open, begin, opened, raw, run
from chatledger.application.ledger.envelope import Envelope
from chatledger.bootstrap import Running

NAME = "durable appends per second"

TEXT = "a piece of an answer of forty characters"

_INSERT = f"INSERT INTO events VALUES ({', '.join('?' * 12)})"


class _Run(msgspec.Struct):
    rate: float
    cpu: float
    batches: list[int]


def measure(options: Options) -> list[Figure]:
    """A row for each number of callers, and for each size of what they hand in."""
    shapes = options.choose(
        full=[(1, 1), (100, 1), (500, 1), (100, 10)], quick=[(1, 1), (100, 1), (500, 1)], tiny=[(4, 1)]
    )
    return [_compare(options, callers, events) for callers, events in shapes]


def _compare(options: Options, callers: int, events: int) -> Figure:
    repeats = options.choose(full=5, quick=3, tiny=1)
    seconds = options.choose(full=1.5, quick=1.0, tiny=0.1)
    ours: list[_Run] = []
    bare: list[_Run] = []
    sealed: list[_Run] = []
    with data_folder(options) as folder:
        for number in range(repeats):
            place = folder / str(number)
            place.mkdir()
            ours.append(run(lambda place=place: _through_writer(place, callers, events, seconds)))
            bare.append(_through_driver(place, ours[-1].batches, seals=False))
            sealed.append(_through_driver(place, ours[-1].batches, seals=True))
    rates, bare_rates, sealed_rates = ([found.rate for found in runs] for runs in (ours, bare, sealed))
    ratio = median_ratio(rates, bare_rates)
    cost, bare_cost, sealed_cost = (statistics.median(map(_cost, runs)) for runs in (ours, bare, sealed))
    per_commit = statistics.median(statistics.mean(found.batches) for found in ours)
    return Figure(
        name=f"{NAME}, {callers} callers x {events}",
        measured=f"{spread(rates)}; {per_commit:.0f} a commit, {cost:.0f} us of CPU each",
        floor=f"{spread(bare_rates)}, {bare_cost:.0f} us; sealed and hashed {statistics.median(sealed_rates):,.0f}, "
        f"{sealed_cost:.0f} us",
        ratio=ratio,
        goal=">= 0.5",
        met=ratio >= 0.5,
        detail={
            "rates": rates,
            "floor_rates": bare_rates,
            "sealed_floor_rates": sealed_rates,
            "ratio_to_sealed_floor": median_ratio(rates, sealed_rates),
            "events_per_commit": per_commit,
            "cpu_us_per_event": [cost, bare_cost, sealed_cost],
        },
    )


def _cost(found: _Run) -> float:
    """Microseconds of CPU per event."""
    return 1e6 * found.cpu / sum(found.batches)


async def _through_writer(place: Path, callers: int, events: int, seconds: float) -> _Run:
    batches: list[int] = []

    def note(envelopes: Sequence[Envelope]) -> None:
        batches.append(len(envelopes))

    async with opened(place) as running:
        answering = await asyncio.gather(*(begin(running) for _ in range(callers)))
        await _append(running, answering, events, seconds / 10)
        running.writer.observe(note)
        cpu, began = time.process_time(), time.perf_counter()
        await _append(running, answering, events, seconds)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        return _Run(sum(batches) / took, cpu, list(batches))


async def _append(running: Running, answering: Sequence[Open], events: int, seconds: float) -> None:
    until = time.perf_counter() + seconds

    async def one(message: Open) -> None:
        while time.perf_counter() < until:
            for _ in range(events):
                message.message.append_chunk(1, TEXT)
            await running.ledger.hand_in(message.staged, context=message.context_position)

    await asyncio.gather(*map(one, answering))


def _through_driver(place: Path, batches: Sequence[int], *, seals: bool) -> _Run:
    """The same number of rows in the same batches, on top of what is in the file already."""
    connection = raw(place / "data" / "ledger.db")
    (position,) = connection.execute("SELECT max(position) FROM events").fetchone()
    (version,) = connection.execute("SELECT max(version) FROM events").fetchone()
    *_, kind, _, public, sealed, algorithm, _, _, leaf = connection.execute(
        "SELECT * FROM events ORDER BY position DESC"
    ).fetchone()
    streams = max(batches)
    cipher, plaintext, now = AESGCM(os.urandom(32)), msgspec.json.encode({"text": TEXT}), time.time_ns() // 1000
    ids, encode = _time_ordered_ids(sum(batches)), msgspec.json.Encoder().encode
    cpu, began = time.process_time(), time.perf_counter()
    for batch in batches:
        rows: list[tuple[Any, ...]] = []
        for number in range(batch):
            position += 1
            event_id = ids[0]
            if seals:
                plaintext = encode({"text": TEXT})
                public = encode({"attempt": 1})
                nonce = os.urandom(12)
                sealed = nonce + cipher.encrypt(nonce, plaintext, event_id)
                leaf = hashlib.sha256(b"\x00" + event_id + public + sealed).digest()
            event_id = ids.pop()
            rows.append(
                (
                    position,
                    number % streams + 1,
                    version + position,
                    event_id,
                    kind,
                    now,
                    public,
                    sealed,
                    algorithm,
                    1,
                    None,
                    leaf,
                )
            )
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_INSERT, rows)
        connection.execute("UPDATE head SET position = ?, recorded_at = ?", (position, now))
        connection.execute("COMMIT")
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    connection.close()
    return _Run(sum(batches) / took, cpu, list(batches))


def _time_ordered_ids(count: int) -> list[bytes]:
    start = time.time_ns() // 1_000_000 << 80
    return [(start + (number << 40)).to_bytes(16, "big") for number in reversed(range(count))]
