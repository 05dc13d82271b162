"""What a run of the fault suite has found: counted for its report, and recorded where something was wrong."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.faults.checking import Tally
from tests.faults.clients import Crowd
from tests.faults.recording import write_lines

PROPERTY = "fault"
"""Under this name a test's report carries its rounds, from whichever process it ran in."""


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
        self._watched: list[tuple[str, int, Crowd]] = []

    def watch(self, fault: str, seed: int, crowd: Crowd) -> None:
        """Keep what this crowd receives, should the test fail before its round is added."""
        self._watched.append((fault, seed, crowd))

    def add(self, fault: str, seed: int, crowd: Crowd, tally: Tally, *, recovery: float | None = None) -> None:
        """Count a round of a fault, and fail where it found something.

        Args:
            fault: what was done, in a few words: rounds of one name are one line of the report.
            seed: that makes the same round again.
            crowd: of clients that met with it.
            tally: what came of their questions.
            recovery: seconds from the server's return to the end of the last message.
        """
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
        if self._keeps_all or tally.faults:
            self._write(fault, seed, crowd, tally)
        self._watched = [watched for watched in self._watched if watched[2] is not crowd]
        assert tally.faults == [], f"seed {seed}"

    def note(self, fault: str, seed: int, **counts: Any) -> None:
        """Count a round of a fault that no crowd has met with."""
        self._record(PROPERTY, {"fault": fault, "database": self._database, "seed": seed, **counts})

    def close(self, *, failed: bool) -> None:
        """Keep what was received by crowds that were never added, where the test has failed."""
        if failed:
            for fault, seed, crowd in self._watched:
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
        str(len(rounds)),
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
