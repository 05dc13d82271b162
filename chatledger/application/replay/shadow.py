"""Shadows: what another generator says to the same questions. Nothing of it goes on the ledger."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from statistics import mean, median
from typing import Literal
from uuid import UUID

import msgspec

from chatledger.application.fault_report import describe
from chatledger.application.generation.failures import CONSEQUENCES, INTERNAL_MESSAGE
from chatledger.application.generation.moderating import Question
from chatledger.application.generation.prompts import Prompts
from chatledger.application.generation.steps import JoinedTexts
from chatledger.application.generation.tally import Tally
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.generator import Finish, Generator, GeneratorError, Part, StepBegan, Text, TokenCount
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.replay.differences import likeness
from chatledger.application.replay.replays import Replays, Told
from chatledger.domain.configuration import Prices
from chatledger.domain.message import Message
from chatledger.domain.values import Json, TaskState, Usage

log = logging.getLogger(__name__)

Outcome = TaskState | Literal["timeout"]
Skipped = Literal["erased", "refused", "moderated"]
"""Why a question is not asked again: nothing is left of it; a moderator let it through to no generator; or it was let
through with other inputs than are on record."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer came to: the original one, or its shadow."""

    outcome: Outcome
    text: str
    usage: Usage | None = None
    error_code: str | None = None
    error: str | None = None


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """An answer beside its shadow.

    Attributes:
        shadow: None where the question was not asked again; ``skipped`` says why.
        likeness: of the texts, from 0 to 1.
    """

    message_id: UUID
    question: str
    original: Answered
    shadow: Answered | None = None
    skipped: Skipped | None = None
    likeness: float | None = None


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """What all answers of one side came to. Times are seconds, of those answers that have them."""

    errors: int
    prompt_tokens: int
    completion_tokens: int
    latency: float
    median_latency: float | None
    median_time_to_first_token: float | None


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. The sums are of the messages that were compared."""

    generator: str
    messages: Sequence[Compared]
    compared: int
    skipped: int
    equal: int
    likeness: float | None
    original: Sums
    shadow: Sums


class Rival(msgspec.Struct, frozen=True):
    """Who is asked in the other's place, and what its tokens cost."""

    generator: Generator
    settings: Mapping[str, Json]
    prices: Prices = Prices()


class ShadowLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many are asked at once, how many seconds each may take, how many characters it may have."""

    concurrency: int = 4
    timeout: float = 1_200.0
    longest_answer: int = 1_000_000


class Shadows:
    """Asks a rival what was asked, after the very history that the original's generator was given."""

    def __init__(self, replays: Replays, prompts: Prompts, clock: Clock, limits: ShadowLimits) -> None:
        self._replays = replays
        self._prompts = prompts
        self._clock = clock
        self._limits = limits

    async def compare(
        self, stream_id: UUID, rival: Rival, up_to: int, progress: Callable[[int, int], None]
    ) -> ShadowReport:
        """Ask for a message, or for all of a conversation's that were sent up to a position.

        Raises:
            NotFoundError: it is no message and no conversation.
        """
        message_ids = await self._replays.message_ids(stream_id, up_to)
        found: dict[UUID, Compared] = {}
        waiting = iter(message_ids)

        async def work() -> None:
            for message_id in waiting:
                told = await self._replays.told(message_id, up_to)
                found[message_id] = await self._compared(told, rival)
                progress(len(found), len(message_ids))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._limits.concurrency, len(message_ids))):
                    group.create_task(work())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return _report(rival.generator.name, [found[message_id] for message_id in message_ids])

    async def _compared(self, told: Told, rival: Rival) -> Compared:
        message = told.message
        error = message.error
        original = Answered(
            outcome=message.state,
            text=message.answer,
            usage=told.usage,
            error_code=None if error is None else error.code,
            error=None if error is None else error.message,
        )
        compared = Compared(message_id=message.id, question=message.created.query, original=original)
        if told.is_erased:
            return msgspec.structs.replace(compared, skipped="erased")
        if message.is_refused:
            return msgspec.structs.replace(compared, skipped="refused")
        if message.admitted_query is not None and message.created.inputs:
            return msgspec.structs.replace(compared, skipped="moderated")
        try:
            shadow = await self._answer(message, rival)
        except KeyDestroyedError:
            return msgspec.structs.replace(compared, skipped="erased")
        alike = await asyncio.to_thread(likeness, original.text, shadow.text)
        return msgspec.structs.replace(compared, shadow=shadow, likeness=alike)

    async def _answer(self, message: Message, rival: Rival) -> Answered:
        query = message.created.query if message.admitted_query is None else message.admitted_query
        request = self._prompts.request(message, Question(query, message.created.inputs))
        heard = _Heard(self._clock, rival.prices, self._limits.longest_answer)
        outcome: Outcome = "completed"
        error_code = error = None
        try:
            async with asyncio.timeout(self._limits.timeout):
                settings = rival.generator.settings_for(message.created.query, rival.settings)
                request = msgspec.structs.replace(request, attempt=1, settings=settings)
                async with aclosing(rival.generator.generate(request)) as parts:
                    await heard.listen(parts)
        except TimeoutError:
            outcome = "timeout"
        except GeneratorError as failure:
            outcome, error_code, error = "errored", CONSEQUENCES[failure.kind].code, str(failure)
        except KeyDestroyedError:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever a generator raises is its failure
            log.warning("generator %s failed: %s", rival.generator.name, describe(failure))
            outcome, error_code, error = "errored", "internal_server_error", INTERNAL_MESSAGE
        return Answered(outcome=outcome, text=heard.text, usage=heard.tally.usage(), error_code=error_code, error=error)


class _Heard:
    """Listens to a generator as an attempt does, and keeps what it says."""

    def __init__(self, clock: Clock, prices: Prices, longest: int) -> None:
        self.pieces = 0
        self.first_text_at: float | None = None
        self.tally = Tally(self, clock)
        self.tally.prices = prices
        self._clock = clock
        self._longest = longest
        self._texts: list[str] = []
        self._length = 0

    @property
    def text(self) -> str:
        return "".join(self._texts)[: self._longest]

    async def listen(self, parts: AsyncGenerator[Part, None]) -> None:
        """Up to the end, or until the answer is as long as may be."""
        joined: JoinedTexts | None = None
        async for part in parts:
            match part:
                case Text(text):
                    self._add(text if joined is None else joined.add(text))
                    if self._length >= self._longest:
                        self.tally.finish_reason = "length"
                        return
                case StepBegan():
                    joined = joined or JoinedTexts()
                    joined.begin()
                case TokenCount() as counted:
                    self.tally.counted = counted
                case Finish(reason):
                    self.tally.finish_reason = reason
                case _:
                    pass

    def _add(self, text: str) -> None:
        if text:
            if self.first_text_at is None:
                self.first_text_at = self._clock.monotonic()
            self.pieces += 1
            self._length += len(text)
            self._texts.append(text)


def _report(generator: str, messages: Sequence[Compared]) -> ShadowReport:
    compared = [(each.original, each.shadow) for each in messages if each.shadow is not None]
    alike = [each.likeness for each in messages if each.likeness is not None]
    return ShadowReport(
        generator=generator,
        messages=messages,
        compared=len(compared),
        skipped=len(messages) - len(compared),
        equal=sum(original.text == shadow.text for original, shadow in compared),
        likeness=round(mean(alike), 4) if alike else None,
        original=_sums([original for original, _ in compared]),
        shadow=_sums([shadow for _, shadow in compared]),
    )


def _sums(answers: Sequence[Answered]) -> Sums:
    usages = [answer.usage for answer in answers if answer.usage is not None]
    latencies = [usage.latency for usage in usages]
    first_tokens = [usage.time_to_first_token for usage in usages if usage.time_to_first_token is not None]
    return Sums(
        errors=sum(answer.outcome in {"errored", "timeout"} for answer in answers),
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        latency=round(sum(latencies), 6),
        median_latency=round(median(latencies), 6) if latencies else None,
        median_time_to_first_token=round(median(first_tokens), 6) if first_tokens else None,
    )
