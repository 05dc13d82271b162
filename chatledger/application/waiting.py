"""Waiting: for how long, and for what."""

import asyncio
import email.utils
import math
from contextlib import suppress
from datetime import UTC

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random_exponential


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def backoff(failures: int, first_delay: float, longest_delay: float) -> float:
    """Seconds to wait after so many failures in a row: exponential, with jitter over the upper half."""
    multiplier, longest = first_delay / 2, longest_delay / 2
    sure, spread = wait_exponential(multiplier, longest), wait_random_exponential(multiplier, longest)
    state = RetryCallState(Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = failures
    return (sure + spread)(state)


def read_retry_after(given: str, now: float) -> float | None:
    """The seconds that a ``Retry-After`` asks for, as a number or as a date (RFC 9110, section 10.2.3); None for none.

    ``now`` is in seconds since the epoch.
    """
    try:
        seconds = float(given)
    except ValueError:
        pass
    else:
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        moment = email.utils.parsedate_to_datetime(given)
    except (ValueError, OverflowError):  # no date, or one of a year that no calendar has
        return None
    if moment.tzinfo is None:  # in the form of asctime (RFC 9110, section 5.6.7), which is in UTC without saying so
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)
