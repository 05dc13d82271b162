"""What an attempt came to."""

from typing import Protocol

from chatledger.application.ports.clock import Clock
from chatledger.application.ports.generator import TokenCount
from chatledger.domain.configuration import Prices
from chatledger.domain.prices import priced
from chatledger.domain.values import FinishReason, Usage


class Heard(Protocol):
    """What was heard of a generator.

    Attributes:
        pieces: of text, how many.
        first_text_at: when the first of them came, by the monotonic clock.
    """

    pieces: int
    first_text_at: float | None


class Tally:
    """What an attempt came to, in tokens, money and seconds."""

    def __init__(self, attempt: Heard, clock: Clock) -> None:
        self._attempt = attempt
        self._clock = clock
        self._started = clock.monotonic()
        self.prices = Prices()
        self.counted: TokenCount | None = None
        self.finish_reason: FinishReason = "stop"

    def usage(self) -> Usage:
        """What it came to. Where the provider counted no tokens, each piece of text counts as one."""
        now, first = self._clock.monotonic(), self._attempt.first_text_at
        counted = self.counted or TokenCount(0, self._attempt.pieces)
        usage = Usage(
            prompt_tokens=counted.prompt_tokens,
            completion_tokens=counted.completion_tokens,
            total_tokens=counted.prompt_tokens + counted.completion_tokens,
            latency=round(now - self._started, 6),
            time_to_first_token=None if first is None else round(first - self._started, 6),
            time_to_generate=None if first is None else round(now - first, 6),
        )
        return priced(usage, self.prices)
