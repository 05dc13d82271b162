"""Verifying a ledger, beside hashing alone: what each leaf and each node of its tree takes, and nothing read."""

import hashlib
import os
import statistics
import time
from collections.abc import Sequence

from benchmarks.bare import bare
from benchmarks.figure import Figure, at_least, median_ratio, spread
from benchmarks.ledgers import converse, opened, run
from benchmarks.profiles import profile
from benchmarks.stores import Options, Store, empty_store
from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.adapters.persistence.database import database_at
from chatledger.application.audit.merkle import CompactRange
from chatledger.application.audit.trust import Trust
from chatledger.application.audit.verification import verify
from chatledger.application.ledger.leaf import canonical_form
from chatledger.bootstrap.auditing import open_for_audit

NAME = "verify"

CONVERSATION = 5
"""Messages."""
PIECES = 16
"""Of each answer: with its other events a message has 19, which is what a usual one has."""
PAGE = 1_000


def measure(options: Options) -> list[Figure]:
    """The ledger of the rebuild's figure, as ``chatledger verify`` reads it, in one process."""
    messages = options.choose(full=10_000, quick=1_500, tiny=20)
    with empty_store(options) as store:
        run(lambda: _fill(store, messages))
        forms = run(lambda: _forms(store))
        ours: list[float] = []
        hashing: list[float] = []
        fetching: list[float] = []
        for _ in range(options.choose(full=5, quick=3, tiny=1)):
            hashing.append(len(forms) / _hash(forms))
            ours.append(len(forms) / _verify(store, len(forms)))
            fetching.append(len(forms) / _fetch(store))
        profiled = profile(options, os.getpid(), "verify_rate", lambda: _verify(store, len(forms)))
    ratio = median_ratio(ours, hashing)
    figure = Figure(
        name=NAME,
        measured=f"{spread(ours)} events/s of {len(forms):,}",
        floor=f"{spread(hashing)} hashed; {statistics.median(fetching):,.0f} fetched",
        ratio=ratio,
        goals=[at_least(statistics.median(ours), 200_000, " events/s")],
        detail={
            "rates": ours,
            "floor_rates": hashing,
            "fetch_rates": fetching,
            "ratio_to_fetching": median_ratio(ours, fetching),
            "events": len(forms),
            "bytes_per_event": sum(map(len, forms)) / len(forms),
        },
        profile=profiled,
    )
    return [figure]


async def _fill(store: Store, messages: int) -> None:
    """Conversations, as the first commits of a server write them, with the checkpoint that it signs at its end."""
    async with opened(store) as running:
        await converse(running, messages // CONVERSATION, CONVERSATION, PIECES)


async def _forms(store: Store) -> list[bytes]:
    """The canonical forms of all events."""
    async with opened(store) as running:
        forms: list[bytes] = []
        while page := await running.store.log(lambda rows: rows, after=len(forms), limit=PAGE):
            forms += map(canonical_form, page)
    return forms


def _hash(forms: Sequence[bytes]) -> float:
    """Seconds."""
    sha256, tree = hashlib.sha256, CompactRange()
    began = time.perf_counter()
    for start in range(0, len(forms), PAGE):
        tree.extend([sha256(b"\x00" + form).digest() for form in forms[start : start + PAGE]])
    return time.perf_counter() - began


def _verify(store: Store, events: int) -> float:
    """Seconds."""
    with open_for_audit(database_at(store.url)) as ledger:
        began = time.perf_counter()
        report = verify(ledger, Trust([], is_signed_by), [], lambda _done, _total: None)
        took = time.perf_counter() - began
    if not report.is_intact or report.events != events:
        raise ValueError(f"the ledger is not intact: {report.findings}")
    return took


def _fetch(store: Store) -> float:
    """Seconds for all columns of all events, by the bare driver."""
    with bare(store) as connection:
        began = time.perf_counter()
        for _ in connection.select(
            f"SELECT position, stream, version, {connection.bytes_of}(event_id), type, recorded_at, public, sealed, "
            "algorithm, context_position, context, leaf FROM events ORDER BY position"
        ):
            pass
        return time.perf_counter() - began
