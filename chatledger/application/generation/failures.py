"""What a generator's failure means for its message."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from chatledger.application.ports.generator import GeneratorError, GeneratorErrorKind
from chatledger.application.waiting import backoff
from chatledger.domain.message import Message
from chatledger.domain.values import ErrorCode

LONGEST_WAIT = 3_600.0
"""Seconds. A provider that wants to be left alone for longer has failed."""

INTERNAL_MESSAGE = "Internal Server Error, please contact support."


class Consequence(msgspec.Struct, frozen=True):
    """What a failure of one kind leads to.

    Attributes:
        code: what is on record as its cause.
        may_pass: whether asking again may help: then it is asked again, as long as there is no text.
    """

    code: ErrorCode
    may_pass: bool = False


CONSEQUENCES: Mapping[GeneratorErrorKind, Consequence] = {
    "transient": Consequence("completion_request_error", may_pass=True),
    "timeout": Consequence("completion_request_error", may_pass=True),
    "quota": Consequence("provider_quota_exceeded"),
    "credentials": Consequence("provider_not_initialize"),
    "invalid": Consequence("completion_request_error"),
    "content": Consequence("completion_request_error"),
    "internal": Consequence("internal_server_error"),
}


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a failed attempt is followed by another one. Times are seconds.

    Attributes:
        attempts: how many may fail. What a crash or a shutdown cut short has not failed.
        take_overs: how often crashes may cost a message its attempt.
    """

    attempts: int = 3
    take_overs: int = 10
    first_delay: float = 0.5
    longest_delay: float = 30.0

    def next_attempt(
        self, failures: int, error: GeneratorError, now: datetime, *, is_final: bool = False
    ) -> datetime | None:
        """When to try again after so many failures, of which this error is the last; None for never.

        What the provider asked for counts; else exponential backoff with jitter over its upper half. ``is_final`` says
        that the answer has begun, and cannot begin anew.
        """
        if is_final or not CONSEQUENCES[error.kind].may_pass or failures >= self.attempts:
            return None
        delay = error.retry_after
        if delay is None:
            delay = backoff(failures, self.first_delay, self.longest_delay)
        return now + timedelta(seconds=delay) if delay <= LONGEST_WAIT else None

    def may_take_over(self, message: Message) -> bool:
        """Whether another attempt may start in the place of one whose worker is gone."""
        return message.take_overs < self.take_overs
