"""What a generator's failure means for its message."""

import random
from datetime import datetime, timedelta

import msgspec

from chatledger.application.ports.generator import GeneratorError, GeneratorErrorKind
from chatledger.domain.values import ErrorCode

CODES: dict[GeneratorErrorKind, ErrorCode] = {
    "transient": "completion_request_error",
    "quota": "provider_quota_exceeded",
    "credentials": "provider_not_initialize",
    "invalid": "completion_request_error",
    "content": "completion_request_error",
    "internal": "internal_server_error",
}

LONGEST_WAIT = 3_600.0
"""Seconds. A provider that wants to be left alone for longer has failed."""

INTERNAL_MESSAGE = "Internal Server Error, please contact support."


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Transient failures before the first token are tried again. Times are seconds."""

    attempts: int = 3
    first_delay: float = 0.5
    longest_delay: float = 30.0

    def next_attempt(
        self, attempt: int, error: GeneratorError, now: datetime, *, has_answered: bool
    ) -> datetime | None:
        """When to try again after ``attempt`` failed, or None for never.

        What the provider asked for counts; else exponential backoff with jitter over its upper half.
        """
        if error.kind != "transient" or has_answered or attempt >= self.attempts:
            return None
        delay = min(self.longest_delay, self.first_delay * 2 ** (attempt - 1))
        delay *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        if error.retry_after is not None:
            delay = error.retry_after
        if delay > LONGEST_WAIT:
            return None
        return now + timedelta(seconds=delay)
