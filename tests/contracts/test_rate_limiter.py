"""What every rate limiter promises."""

import asyncio

import pytest

from chatledger.adapters.rate_limiter.in_process import InProcessRateLimiter
from chatledger.application.ports.rate_limiter import RateLimit

SOON = 10.0
"""Seconds in which a request is back whose limit is one a second."""


def limit(requests: int, holder: str = "ann", *, name: str = "user", seconds: int = 3_600) -> RateLimit:
    return RateLimit(name, holder, requests, seconds)


def passes(limiter, *limits: RateLimit) -> bool:
    return not any(allowance.retry_after for allowance in limiter.take(limits))


@pytest.mark.parametrize("requests", [1, 7, 60])
def test_exactly_so_many_pass_at_once(rate_limiter, requests: int) -> None:
    passed = [passes(rate_limiter, limit(requests)) for _ in range(requests + 5)]
    assert passed == [True] * requests + [False] * 5


def test_it_says_what_is_left_and_when_there_will_be_more(rate_limiter) -> None:
    left = [rate_limiter.take([limit(3)])[0] for _ in range(4)]
    assert [allowance.remaining for allowance in left] == [2, 1, 0, 0]
    assert [allowance.retry_after for allowance in left[:3]] == [0, 0, 0]
    assert 1_100 < left[3].retry_after <= 1_200
    assert 3_500 < left[3].reset_after <= 3_600
    assert {allowance.limit for allowance in left} == {limit(3)}


async def test_what_was_used_comes_back(rate_limiter) -> None:
    quick = limit(1, seconds=1)
    assert passes(rate_limiter, quick)
    async with asyncio.timeout(SOON):
        while not passes(rate_limiter, quick):  # noqa: ASYNC110 - only time brings it back
            await asyncio.sleep(0.05)


def test_each_holder_and_each_kind_of_limit_counts_for_itself(rate_limiter) -> None:
    for other in (limit(1), limit(1, "bob"), limit(1, name="key"), limit(2)):
        assert passes(rate_limiter, other)
    assert not passes(rate_limiter, limit(1))


def test_who_is_refused_by_one_limit_uses_nothing_of_the_others(rate_limiter) -> None:
    wide, narrow = limit(10, "app", name="key"), limit(1)
    assert passes(rate_limiter, wide, narrow)
    for _ in range(5):
        of_wide, of_narrow = rate_limiter.take([wide, narrow])
        assert (of_wide.remaining, of_wide.retry_after) == (9, 0)
        assert of_narrow.retry_after > 0
    assert passes(rate_limiter, wide, limit(1, "bob"))


def test_no_limits_let_everybody_pass(rate_limiter) -> None:
    assert rate_limiter.take([]) == []


def test_in_process_only_so_many_holders_are_remembered() -> None:
    limiter = InProcessRateLimiter(max_holders=2)
    ann, bob, cy = (limit(1, holder) for holder in ("ann", "bob", "cy"))
    assert [passes(limiter, one) for one in (ann, bob, ann, cy)] == [True, True, False, True]
    assert not passes(limiter, ann)
    assert passes(limiter, bob)
