"""How often somebody may ask."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class RateLimit(msgspec.Struct, frozen=True):
    """So many requests in so many seconds. They can be made all at once, and come back one by one, evenly.

    Attributes:
        name: what kind of limit it is.
        holder: whose it is.
    """

    name: str
    holder: str
    requests: int
    seconds: int = 60


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a limit. Times are seconds.

    Attributes:
        remaining: requests that may be made at once.
        reset_after: when all of them will be back.
        retry_after: when there will be one again; 0 where the request was let pass.
    """

    limit: RateLimit
    remaining: int
    reset_after: float
    retry_after: float


class RateLimiter(Protocol):
    """Counts requests. What it knows is operational state: it may be lost, and everybody begins anew. Never blocks."""

    def take(self, limits: Sequence[RateLimit]) -> Sequence[Allowance]:
        """Count one request against all of these, or against none where one of them is used up.

        What is left of each, in the same order.
        """
        ...
