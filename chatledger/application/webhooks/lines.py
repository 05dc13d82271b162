"""What an endpoint is to be told, in a line for each conversation: the first is tried, the others wait behind it."""

from collections import deque
from heapq import heappop, heappush
from itertools import count
from uuid import UUID

import msgspec


class Waiting(msgspec.Struct):
    """An event on its way. One that is on record has a row; the others are read off the ledger again after a crash."""

    position: int
    order_id: UUID
    attempts: int = 0
    due_at: int = 0
    is_on_record: bool = False


class Lines:
    """All lines. Each is either due at some time, or being tried.

    Attributes:
        in_memory: how many events have no row.
        on_record: how many have one.
    """

    def __init__(self) -> None:
        self._lines: dict[UUID, deque[Waiting]] = {}
        self._due: list[tuple[int, int, UUID]] = []
        self._number = count()
        self.in_memory = 0
        self.on_record = 0

    @property
    def due_at(self) -> int | None:
        """When the next line is due; None where there is none that is not being tried."""
        return self._due[0][0] if self._due else None

    @property
    def first_in_memory(self) -> int | None:
        """The lowest position of those that have no row."""
        positions = (each.position for line in self._lines.values() for each in line if not each.is_on_record)
        return min(positions, default=None)

    def add(self, waiting: Waiting) -> bool:
        """Put an event at the end of its line; whether it has to have a row, as those before it have."""
        line = self._lines.get(waiting.order_id)
        if line is None:
            line = self._lines[waiting.order_id] = deque()
            self._make_due(waiting)
        needs_row = bool(line) and line[0].is_on_record and not waiting.is_on_record
        waiting.is_on_record = waiting.is_on_record or needs_row
        line.append(waiting)
        if waiting.is_on_record:
            self.on_record += 1
        else:
            self.in_memory += 1
        return needs_row

    def take(self) -> Waiting:
        """The first of the line that is due first, to be tried. Its line waits until :meth:`give_back`."""
        _, _, order_id = heappop(self._due)
        return self._lines[order_id][0]

    def give_back(self, waiting: Waiting, *, is_done: bool) -> None:
        """It was tried: it is done with, and the next one comes first; or it is due again."""
        line = self._lines[waiting.order_id]
        if is_done:
            line.popleft()
            if waiting.is_on_record:
                self.on_record -= 1
            else:
                self.in_memory -= 1
        if line:
            self._make_due(line[0])
        else:
            del self._lines[waiting.order_id]

    def keep(self, order_id: UUID) -> list[Waiting]:
        """Have all of a line on record; those that had no row yet."""
        new = [each for each in self._lines[order_id] if not each.is_on_record]
        for each in new:
            each.is_on_record = True
        self.in_memory -= len(new)
        self.on_record += len(new)
        return new

    def _make_due(self, first: Waiting) -> None:
        heappush(self._due, (first.due_at, next(self._number), first.order_id))
