"""Rate limits in this process's own memory: several processes count apart, and a restart begins anew."""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from chatledger.application.ports.rate_limiter import Allowance, RateLimit

if TYPE_CHECKING:
    from throttled.rate_limiter.gcra import GCRARateLimiter
    from throttled.store import MemoryStore

MAX_HOLDERS = 100_000
"""Limits that are remembered. Beyond them the one that was used longest ago is forgotten, and is whole again."""

MAX_RATES = 1_000


class InProcessRateLimiter:
    """The generic cell rate algorithm (ITU-T I.371), by a library: a number per holder, no timer and no thread."""

    def __init__(self, max_holders: int = MAX_HOLDERS) -> None:
        self._max_holders = max_holders
        self._store: MemoryStore | None = None
        self._counters: OrderedDict[tuple[int, int], GCRARateLimiter] = OrderedDict()

    def take(self, limits: Sequence[RateLimit]) -> Sequence[Allowance]:
        """Count one request against all of these, or against none where one of them is used up."""
        counters = [(limit, self._counter(limit)) for limit in limits]
        used_up = {limit for limit, counter in counters if counter.peek(_key(limit)).remaining < 1}
        return [
            _allowance(limit, counter, cost=1 if limit in used_up or not used_up else 0) for limit, counter in counters
        ]

    def _counter(self, limit: RateLimit) -> "GCRARateLimiter":
        rate = (limit.requests, limit.seconds)
        counter = self._counters.get(rate)
        if counter is None:
            # Slow to import, and of no use to a server without limits.
            from throttled.rate_limiter import per_duration  # noqa: PLC0415
            from throttled.rate_limiter.gcra import GCRARateLimiter  # noqa: PLC0415
            from throttled.store import MemoryStore  # noqa: PLC0415

            if self._store is None:
                self._store = MemoryStore(options={"MAX_SIZE": self._max_holders})
            quota = per_duration(timedelta(seconds=limit.seconds), limit.requests)
            counter = self._counters[rate] = GCRARateLimiter(quota, self._store)
            if len(self._counters) > MAX_RATES:
                self._counters.popitem(last=False)
        return counter


def _key(limit: RateLimit) -> str:
    # A limit that is configured anew begins anew: what one rate has counted says nothing about another.
    return f"{limit.name} {limit.requests}/{limit.seconds} {limit.holder}"


def _allowance(limit: RateLimit, counter: "GCRARateLimiter", cost: int) -> Allowance:
    state = counter.limit(_key(limit), cost).state
    return Allowance(
        limit=limit, remaining=state.remaining, reset_after=state.reset_after, retry_after=state.retry_after
    )
