"""Given a failure, when it is judged, then another attempt, or none."""

from datetime import UTC, datetime, timedelta

import pytest

from chatledger.application.generation.failures import RetryPolicy
from chatledger.application.ports.generator import GeneratorError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RetryPolicy(attempts=3, first_delay=0.5, longest_delay=30)


def wait(
    attempt: int, error: GeneratorError, *, has_answered: bool = False, policy: RetryPolicy = POLICY
) -> float | None:
    again = policy.next_attempt(attempt, error, NOW, has_answered=has_answered)
    return None if again is None else (again - NOW) / timedelta(seconds=1)


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.5), (2, 1.0)])
def test_the_delay_doubles_and_is_spread_over_its_upper_half(attempt, longest):
    delays = {wait(attempt, GeneratorError("transient", "busy")) for _ in range(200)}
    assert len(delays) > 100
    assert longest / 2 <= min(delays) <= max(delays) <= longest


def test_the_delay_has_a_limit():
    patient = RetryPolicy(attempts=100, first_delay=0.5, longest_delay=30)
    assert 15 <= wait(50, GeneratorError("transient", "busy"), policy=patient) <= 30


def test_what_the_provider_asks_for_counts():
    assert wait(1, GeneratorError("transient", "busy", retry_after=42.5)) == 42.5


@pytest.mark.parametrize(
    ("attempt", "error", "has_answered"),
    [
        (3, GeneratorError("transient", "the budget is used up"), False),
        (1, GeneratorError("transient", "there is text already"), True),
        (1, GeneratorError("transient", "too long", retry_after=3_601), False),
        *(
            (1, GeneratorError(kind, "final"), False)
            for kind in ("quota", "credentials", "invalid", "content", "internal")
        ),
    ],
)
def test_there_is_no_further_attempt(attempt, error, has_answered):
    assert wait(attempt, error, has_answered=has_answered) is None
