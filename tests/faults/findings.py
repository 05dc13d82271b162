"""What a run of the fault suite has found: counted for its report, and recorded where something was wrong."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.faults.checking import Tally, tally_of
from tests.faults.clients import Place
from tests.faults.crowd import Crowd
from tests.faults.recording import write_lines

PROPERTY = "fault"
"""Under this name a test's report carries its rounds, from whichever process it ran in."""

RECOVERY = 6.0
"""Seconds within which every message has to end once the server is there again: a lease and one more."""


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
        self._unchecked: dict[Crowd, tuple[str, int]] = {}

    @asynccontextmanager
    async def crowd(self, fault: str, seed: int, place: Place, streams: int, **options: int) -> AsyncIterator[Crowd]:
        """A crowd that asks while inside; :meth:`check` it before the end.

        Args:
            fault: what is done to it, in a few words: the rounds of one name are one line of the report.
            seed: that makes the same round again.
            place: where it finds the server.
            streams: how many send by a stream; ``options`` say how many others there are.
        """
        crowd = Crowd(f"{fault} {seed}", place, streams, **options)
        self._unchecked[crowd] = fault, seed
        crowd.begin()
        try:
            yield crowd
        finally:
            await crowd.leave()

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
        fault, seed = self._unchecked[crowd]
        tally = await tally_of(crowd, ends=ends)
        recovery = None if since is None else max(0.0, tally.last_end - since)
        tally.require((recovery or 0.0) <= within, f"the last message ended {recovery} s after the restart")
        self.note(
            fault,
            seed,
            clients=tally.clients,
            messages=tally.messages,
            characters=tally.received,
            lost=tally.lost,
            doubled=tally.doubled,
            spliced=tally.spliced,
            ends=dict(tally.ends),
            recovery=recovery,
        )
        del self._unchecked[crowd]
        if self._keeps_all or tally.faults:
            self._write(fault, seed, crowd, tally)
        assert tally.faults == [], f"{fault}, seed {seed}"
        return tally

    def note(self, fault: str, seed: int, **counts: Any) -> None:
        """Count a round of a fault, or so many ``rounds``; by itself one that no crowd has met with."""
        self._record(PROPERTY, {"fault": fault, "database": self._database, "seed": seed, **counts})

    def close(self, *, failed: bool) -> None:
        """Keep what was received by crowds that did not come to be checked, where the test has failed."""
        if failed:
            for crowd, (fault, seed) in self._unchecked.items():
                self._write(fault, seed, crowd, Tally())

    def _write(self, fault: str, seed: int, crowd: Crowd, tally: Tally) -> None:
        folder = self._folder / f"{fault} {self._database} {seed}".replace(" ", "-")
        for client in crowd.clients:
            client.recording.write(folder)
        for message_id, events in tally.ledger.items():
            write_lines(folder / "ledger" / f"{message_id}.jsonl", [json.dumps(event) for event in events])
        if tally.faults:
            write_lines(folder / "faults.txt", tally.faults)


COLUMNS = (
    "fault", "database", "rounds", "seeds", "clients", "messages", "characters", "lost", "doubled", "spliced", "ends",
    "slowest recovery",
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
