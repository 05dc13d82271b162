"""Given a failure, when it is judged, then another attempt, or none."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatledger.application.generation.failures import CONSEQUENCES, RetryPolicy
from chatledger.application.ports.generator import GeneratorError, GeneratorErrorKind
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from tests.domain.facts import LATER, asked
from tests.domain.specification import AN_ID

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RetryPolicy(attempts=3, first_delay=0.5, longest_delay=30)


def wait(failures: int, error: GeneratorError, *, is_final: bool = False, policy: RetryPolicy = POLICY) -> float | None:
    again = policy.next_attempt(failures, error, NOW, is_final=is_final)
    return None if again is None else (again - NOW) / timedelta(seconds=1)


@pytest.mark.parametrize(
    ("kind", "code", "is_tried_again"),
    [
        ("transient", "completion_request_error", True),
        ("quota", "provider_quota_exceeded", False),
        ("credentials", "provider_not_initialize", False),
        ("invalid", "completion_request_error", False),
        ("content", "completion_request_error", False),
        ("internal", "internal_server_error", False),
    ],
)
def test_what_each_kind_of_failure_leads_to(kind, code, is_tried_again):
    assert CONSEQUENCES[kind].code == code
    assert (wait(1, GeneratorError(kind, "no")) is not None) == is_tried_again
    assert wait(1, GeneratorError(kind, "no", retry_after=0)) == (0 if is_tried_again else None)


def test_every_kind_of_failure_leads_to_something():
    assert set(CONSEQUENCES) == set(get_args(GeneratorErrorKind))


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.5), (2, 1.0)])
def test_the_delay_doubles_and_is_spread_over_its_upper_half(failures, longest):
    delays = {wait(failures, GeneratorError("transient", "busy")) for _ in range(200)}
    assert len(delays) > 100
    assert longest / 2 <= min(delays) <= max(delays) <= longest


@pytest.mark.parametrize("failures", [50, 5_000])
def test_the_delay_has_a_limit(failures):
    patient = RetryPolicy(attempts=10_000, first_delay=0.5, longest_delay=30)
    assert 15 <= wait(failures, GeneratorError("transient", "busy"), policy=patient) <= 30


def test_there_may_be_no_delay():
    assert wait(2, GeneratorError("transient", "busy"), policy=RetryPolicy(first_delay=0, longest_delay=0)) == 0


@pytest.mark.parametrize("seconds", [0, 42.5, 3_600])
def test_what_the_provider_asks_for_counts(seconds):
    assert wait(1, GeneratorError("transient", "busy", retry_after=seconds)) == seconds


@pytest.mark.parametrize(
    ("failures", "error", "is_final"),
    [
        (3, GeneratorError("transient", "the budget is used up"), False),
        (3, GeneratorError("transient", "even if it is asked for", retry_after=1), False),
        (1, GeneratorError("transient", "there is text already"), True),
        (1, GeneratorError("transient", "too long", retry_after=3_601), False),
    ],
)
def test_there_is_no_further_attempt(failures, error, is_final):
    assert wait(failures, error, is_final=is_final) is None


@given(
    what_happens=st.lists(st.sampled_from(("failure", "crash", "hand-over"))),
    attempts=st.integers(1, 4),
    take_overs=st.integers(0, 4),
)
def test_failures_and_crashes_each_have_a_budget_of_their_own_and_hand_overs_have_none(
    what_happens, attempts, take_overs
):
    policy = RetryPolicy(attempts=attempts, take_overs=take_overs)
    message = Message.create(AN_ID, asked)
    message.start_attempt("w")
    log = []
    happened = {"failure": 0, "crash": 0, "hand-over": 0}
    for one in what_happens:
        happened[one] += 1
        if one == "failure":
            again = policy.next_attempt(message.failures + 1, GeneratorError("transient", "busy"), NOW)
            if again is None:
                message.fail(message.attempt, "completion_request_error", "busy")
            else:
                message.requeue(message.attempt, "completion_request_error", "busy", again)
                message.start_attempt("w")
        elif one == "hand-over":
            message.requeue(message.attempt, "handed_over", "", LATER)
            message.start_attempt("w")
        elif policy.may_take_over(message):
            message.start_attempt("another")
        else:
            message.fail(message.attempt, "internal_server_error", "its workers died")
        log += [event.body for event in message.collect_events()]
        message = Message.fold(AN_ID, log)  # as another process finds it
        is_used_up = happened["failure"] == attempts or happened["crash"] > take_overs
        assert message.has_ended == is_used_up
        if message.has_ended:
            break
    else:
        message.complete(message.attempt, Usage(), "stop", "f")
    assert message.attempt == 1 + sum(happened.values()) - (message.state == "errored")
