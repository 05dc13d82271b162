"""What every part of the views reads with."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import sqlalchemy as sa

from chatledger.application.ledger.sealed_rows import RowSeals

T = TypeVar("T")


class ReadModels(Protocol):
    """Where there are read models to ask."""

    async def query(self, read: Callable[[sa.Connection], T]) -> T:
        """The result of ``read``, in one snapshot and in another thread."""
        ...


class SqlReading:
    """Queries run in the reading threads, and open the sealed columns there."""

    def __init__(self, reader: ReadModels, seals: RowSeals) -> None:
        self._reader = reader
        self._seals = seals
