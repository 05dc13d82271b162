"""What is wrong with a ledger, and where it begins."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

FindingKind: TypeAlias = Literal[
    "malformed",
    "changed",
    "missing",
    "order",
    "version",
    "time",
    "context",
    "head",
    "stream",
    "event_type",
    "tree",
    "tile",
    "checkpoint",
    "signature",
    "unsigned",
    "content",
]

MOST_KEPT = 100

LEAF_MADE_ANEW = (
    "All rows there agree with their leaves, so whoever changed one has made its leaf anew, "
    "and nothing tells which it is."
)


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    Attributes:
        first: the position where it is, or where it can begin at the earliest; None where it is at no event.
        last: the position where it can begin at the latest; the same as ``first`` where that is known.
        text: what it is, in words.
    """

    kind: FindingKind
    first: int | None
    last: int | None
    text: str


class Findings:
    """Gathers them. The first ones are kept, and all are counted."""

    def __init__(self) -> None:
        self.count = 0
        self._first: tuple[int, int] | None = None
        self._kept: list[Finding] = []
        self._first_exact: int | None = None

    def add(self, kind: FindingKind, text: str, first: int | None = None, last: int | None = None) -> None:
        """One more: at the event at ``first``, or somewhere from ``first`` to ``last``."""
        finding = Finding(kind, first, first if last is None else last, text)
        self.count += 1
        if len(self._kept) < MOST_KEPT:
            self._kept.append(finding)
        if finding.first is None or finding.last is None:
            return
        self._first = min((finding.first, finding.last), self._first or (finding.first, finding.last))
        if finding.first == finding.last:
            self._first_exact = min(finding.first, self._first_exact or finding.first)

    @property
    def kept(self) -> Sequence[Finding]:
        """In the order of what is wrong first; what is at no event comes last."""
        return sorted(self._kept, key=lambda each: (each.first is None, each.first or 0, each.last or 0))

    def explained(self, first: int, last: int) -> int | None:
        """The first event among these that is known to be wrong."""
        found = self._first_exact
        return found if found is not None and first <= found <= last else None

    def explains(self, first: int, last: int) -> bool:
        """Whether what was found shows why the tree of these events differs."""
        return self.explained(first, last) is not None or any(
            each.first is not None and each.last is not None and each.first <= last and first <= each.last
            for each in self._kept
        )

    @property
    def first_bad(self) -> tuple[int, int] | None:
        """Where the ledger begins to be wrong: from where to where that can be. None where no event is."""
        known = None if self._first is None else self.explained(*self._first)
        return self._first if known is None else (known, known)
