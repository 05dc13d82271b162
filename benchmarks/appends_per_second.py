"""Durable appends per second through the group commit, beside inserts by the bare driver in batches of the same sizes.

What is appended are pieces of answers, sealed and durable; each caller waits for its commit before it hands in more.
The floor inserts rows of the same shape into the same table, with its indexes: no sealing, no leaf, no checks, no read
models, nobody to wake. On SQLite it is ``executemany`` of ``sqlite3``, on PostgreSQL the faster of ``executemany`` and
binary COPY of ``psycopg``. The second floor seals and hashes too.
"""

import asyncio
import hashlib
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.bare import NONCE_BYTES, bare
from benchmarks.cpu import database_cpu
from benchmarks.figure import Figure, at_least, median_ratio, spread
from benchmarks.ledgers import Open, begin, opened, run
from benchmarks.profiles import profile
from benchmarks.stores import Options, Store, empty_store
from chatledger.application.ledger.envelope import Envelope
from chatledger.bootstrap import Running

NAME = "durable appends per second"

TEXT = "a piece of an answer of forty characters"


class _Run(msgspec.Struct):
    """Events per second, seconds of CPU of this process and of the database's own, and the size of each commit."""

    rate: float
    cpu: float
    database_cpu: float
    batches: list[int]


def measure(options: Options) -> list[Figure]:
    """A row for each number of callers, and for each size of what they hand in."""
    shapes = options.choose(
        full=[(1, 1), (100, 1), (500, 1), (100, 10)], quick=[(1, 1), (100, 1), (500, 1)], tiny=[(4, 1)]
    )
    return [_compare(options, callers, events) for callers, events in shapes]


def _compare(options: Options, callers: int, events: int) -> Figure:
    repeats = options.choose(full=5, quick=3, tiny=1)
    seconds = options.choose(full=1.5, quick=0.5, tiny=0.1)
    ours: list[_Run] = []
    bare_runs: list[_Run] = []
    sealed: list[_Run] = []
    for _ in range(repeats):
        with empty_store(options) as store:
            ours.append(run(lambda store=store: _through_writer(store, callers, events, seconds)))
            bare_runs.append(_through_driver(store, ours[-1].batches, seals=False))
            sealed.append(_through_driver(store, ours[-1].batches, seals=True))
    with empty_store(options) as store:
        work = lambda: run(lambda: _through_writer(store, callers, events, 5.0))  # noqa: E731
        shares = profile(options, os.getpid(), f"appends_per_second_{callers}x{events}", work)
    rates, bare_rates, sealed_rates = ([found.rate for found in runs] for runs in (ours, bare_runs, sealed))
    ratio = median_ratio(rates, bare_rates)
    per_commit = statistics.median(statistics.mean(found.batches) for found in ours)
    return Figure(
        name=f"{NAME}, {callers} callers x {events}",
        measured=f"{spread(rates)}; {per_commit:.0f} a commit, {_costs(ours)} of CPU each",
        floor=f"{spread(bare_rates)}, {_costs(bare_runs)}; sealed and hashed {statistics.median(sealed_rates):,.0f}, "
        f"{_costs(sealed)}",
        ratio=ratio,
        goals=[at_least(ratio, 0.5, " of the floor")],
        profile=shares,
        detail={
            "rates": rates,
            "floor_rates": bare_rates,
            "sealed_floor_rates": sealed_rates,
            "ratio_to_sealed_floor": median_ratio(rates, sealed_rates),
            "events_per_commit": per_commit,
            "cpu_us_per_event": [_cost(runs) for runs in (ours, bare_runs, sealed)],
            "database_cpu_us_per_event": [_database_cost(runs) for runs in (ours, bare_runs, sealed)],
        },
    )


def _cost(runs: Sequence[_Run]) -> float:
    """Microseconds of this process's CPU per event."""
    return statistics.median(1e6 * found.cpu / sum(found.batches) for found in runs)


def _database_cost(runs: Sequence[_Run]) -> float:
    return statistics.median(1e6 * found.database_cpu / sum(found.batches) for found in runs)


def _costs(runs: Sequence[_Run]) -> str:
    of_database = _database_cost(runs)
    return f"{_cost(runs):.0f} us" + (f" and {of_database:.0f} us of the database's" if of_database else "")


async def _through_writer(store: Store, callers: int, events: int, seconds: float) -> _Run:
    batches: list[int] = []

    def note(envelopes: Sequence[Envelope]) -> None:
        batches.append(len(envelopes))

    async with opened(store) as running:
        answering = await asyncio.gather(*(begin(running) for _ in range(callers)))
        await _append(running, answering, events, seconds / 10)
        running.writer.observe(note)
        of_database, cpu = database_cpu(store.postmaster), time.process_time()
        began = time.perf_counter()
        await _append(running, answering, events, seconds)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        return _Run(sum(batches) / took, cpu, database_cpu(store.postmaster) - of_database, list(batches))


async def _append(running: Running, answering: Sequence[Open], events: int, seconds: float) -> None:
    until = time.perf_counter() + seconds

    async def one(message: Open) -> None:
        while time.perf_counter() < until:
            for _ in range(events):
                message.message.append_chunk(1, TEXT)
            await running.ledger.hand_in(message.staged, context=message.context_position)

    await asyncio.gather(*map(one, answering))


def _through_driver(store: Store, batches: Sequence[int], *, seals: bool) -> _Run:
    """The same number of rows in the same batches, on top of what is in the table already."""
    with bare(store) as connection:
        ((version,),) = connection.select("SELECT max(version) FROM events")
        (newest,) = connection.select(
            "SELECT position, type, public, sealed, algorithm, leaf FROM events ORDER BY position DESC LIMIT 1"
        )
        position, kind, public, sealed, algorithm, leaf = newest
        streams, encode = max(batches), msgspec.json.Encoder().encode
        cipher, now = AESGCM(os.urandom(32)), time.time_ns() // 1000
        ids = [(raw, connection.id(raw)) for raw in _time_ordered_ids(sum(batches))]
        of_database, cpu = database_cpu(store.postmaster), time.process_time()
        began = time.perf_counter()
        for batch in batches:
            rows: list[tuple[Any, ...]] = []
            for number in range(batch):
                position += 1
                raw, event_id = ids.pop()
                if seals:
                    public, plaintext = encode({"attempt": 1}), encode({"text": TEXT})
                    nonce = os.urandom(NONCE_BYTES)
                    sealed = nonce + cipher.encrypt(nonce, plaintext, raw)
                    leaf = hashlib.sha256(b"\x00" + raw + public + sealed).digest()
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
            connection.append(rows, now)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        return _Run(sum(batches) / took, cpu, database_cpu(store.postmaster) - of_database, list(batches))


def _time_ordered_ids(count: int) -> list[bytes]:
    start = time.time_ns() // 1_000_000 << 80
    return [(start + (number << 40)).to_bytes(16, "big") for number in reversed(range(count))]
