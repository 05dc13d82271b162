"""The one clock and the one source of ids."""

from datetime import datetime
from typing import Protocol
from uuid import UUID


class Clock(Protocol):
    """Time as the application sees it."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        ...


class IdFactory(Protocol):
    """New ids, ordered by time (UUIDv7, RFC 9562): random ones scatter over the index and slow every insert."""

    def __call__(self) -> UUID:
        """An id that was never given before."""
        ...
