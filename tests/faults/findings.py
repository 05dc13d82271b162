"""What a run of the fault suite has found: counted for its report, and recorded where something was wrong."""

import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.faults.checking import Event, Tally, tally_of
from tests.faults.clients import Client, Place
from tests.faults.crowd import Crowd
from tests.faults.recording import write_lines

PROPERTY = "fault"
"""Under this name a test's report carries its rounds, from whichever process it ran in."""

RECOVERY = 6.0
"""Seconds within which every message has to end once the server is there again: a lease and one more."""


class Round:
    """What is done once, and what came of it.

    Attributes:
        fault: what is done.
        seed: that makes the same round again.
        counts: for the report.
        faults: what is wrong, a line each.
        ledger: the events of each message.
    """

    def __init__(self, fault: str, seed: int, clients: Sequence[Client]) -> None:
        self.fault = fault
        self.seed = seed
        self.counts: dict[str, Any] = {"clients": len(clients)}
        self.faults: Sequence[str] = []
        self.ledger: dict[str, Sequence[Event]] = {}
        self._clients = clients

    def count(self, **counts: Any) -> None:
        """Say something of it that is added up in the report."""
        self.counts.update(counts)

    def write(self, folder: Path) -> None:
        """Keep what was received, in place of what is there of an earlier run."""
        shutil.rmtree(folder, ignore_errors=True)
        for client in self._clients:
            client.recording.write(folder)
        for message_id, events in self.ledger.items():
            write_lines(folder / "ledger" / f"{message_id}.jsonl", [json.dumps(event) for event in events])
        if self.faults:
            write_lines(folder / "faults.txt", self.faults)


class Findings:
    """Of one test.

    Args:
        folder: where recordings go, each round's in a folder of its own.
        keep_all: whether the recordings of rounds without a fault are kept.
        record: adds a property to the test's report.
        database: which one the test ran on, for the report.
    """

    def __init__(self, folder: Path, *, keep_all: bool, record: Callable[[str, object], None], database: str) -> None:
        self._folder = folder
        self._keeps_all = keep_all
        self._record = record
        self._database = database
        self._rounds: dict[Crowd, Round] = {}

    @contextmanager
    def round(self, fault: str, seed: int, clients: Sequence[Client] = ()) -> Iterator["Round"]:
        """Count a round, as one that failed where the body does; then what its clients received is kept.

        Args:
            fault: what is done, in a few words: the rounds of one name are one line of the report.
            seed: that makes the same round again.
            clients: whom it is done to.
        """
        made = Round(fault, seed, clients)
        try:
            yield made
        except BaseException as error:
            made.count(failed=1)
            made.faults = made.faults or [f"{type(error).__name__}: {error}"]
            raise
        finally:
            is_kept = bool(clients) and (self._keeps_all or bool(made.faults))
            if is_kept:
                made.write(self._folder / f"{fault} {self._database} {seed}".replace(" ", "-"))
            self._record(
                PROPERTY,
                {"fault": fault, "database": self._database, "seed": seed, "recordings": int(is_kept), **made.counts},
            )

    @asynccontextmanager
    async def crowd(self, fault: str, seed: int, place: Place, streams: int, **options: float) -> AsyncIterator[Crowd]:
        """A crowd that asks while inside; :meth:`check` it before the end.

        Args:
            fault: what is done to it, as in :meth:`round`.
            seed: that makes the same round again.
            place: where it finds the server.
            streams: how many send by a stream; ``options`` say how many others there are.
        """
        crowd = Crowd(f"{fault} {seed}", place, streams, **options)
        with self.round(fault, seed, crowd.clients) as self._rounds[crowd]:
            crowd.begin()
            try:
                yield crowd
                assert "messages" in self._rounds[crowd].counts, "nobody has checked what came of it"
            finally:
                await crowd.leave()
                del self._rounds[crowd]

    async def check(
        self,
        crowd: Crowd,
        *,
        since: float | None = None,
        within: float = RECOVERY,
        ends: Sequence[str] = ("MessageCompleted",),
    ) -> Tally:
        """Compare what a crowd was told with the ledger, count it, and fail where something is wrong.

        Args:
            crowd: that has come to its end.
            since: when the server was there again: seconds since 1970.
            within: how many seconds after that the last message may have ended.
            ends: the terminal events that a message may have.
        """
        found = self._rounds[crowd]
        tally = await tally_of(crowd, ends=ends)
        recovery = None if since is None else max(0.0, tally.last_end - since)
        tally.require((recovery or 0.0) <= within, f"the last message ended {recovery} s after the restart")
        found.faults, found.ledger = tally.faults, tally.ledger
        found.count(
            messages=tally.messages,
            characters=tally.received,
            lost=tally.lost,
            doubled=tally.doubled,
            spliced=tally.spliced,
            ends=dict(tally.ends),
            recovery=recovery,
        )
        assert tally.faults == [], f"{found.fault}, seed {found.seed}"
        return tally


COLUMNS = (
    "fault", "database", "rounds", "failed", "seeds", "clients", "messages", "characters", "lost", "doubled", "spliced",
    "ends", "slowest recovery",
)  # fmt: skip
SUMS = ("clients", "messages", "characters", "lost", "doubled", "spliced")


def table_of(rounds: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The lines of the report: one for each fault and database."""
    by_fault: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in rounds:
        by_fault.setdefault((each["fault"], each["database"]), []).append(each)
    rows = [COLUMNS, *(_row(*key, found) for key, found in sorted(by_fault.items()))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(fault: str, database: str, rounds: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    sums = [str(sum(each[name] for each in rounds if name in each)) for name in SUMS]
    ends: Counter[str] = Counter()
    for each in rounds:
        ends.update({str(count): times for count, times in each.get("ends", {}).items()})
    recoveries = [each["recovery"] for each in rounds if each.get("recovery") is not None]
    return (
        fault,
        database,
        str(sum(each.get("rounds", 1) for each in rounds)),
        str(sum(each.get("failed", 0) for each in rounds)),
        _ranges(sorted({each["seed"] for each in rounds})),
        *sums,
        " ".join(f"{count}:{times}" for count, times in sorted(ends.items())),
        f"{max(recoveries):.2f} s" if recoveries else "",
    )


def _ranges(numbers: Sequence[int]) -> str:
    """1 2 3 7 as 1..3 7."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return " ".join(str(first) if first == last else f"{first}..{last}" for first, last in ranges)
