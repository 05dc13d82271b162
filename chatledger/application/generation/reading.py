"""Reading a generator: what it says goes into an attempt, until it ends, fails, is stopped, or runs out of time."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from chatledger.application.errors import GenerationStoppedError
from chatledger.application.fault_report import describe
from chatledger.application.generation.attempt import Attempt
from chatledger.application.generation.closing import Closings
from chatledger.application.generation.failures import INTERNAL_MESSAGE
from chatledger.application.generation.moderating import Gate, Question
from chatledger.application.generation.steps import Steps
from chatledger.application.generation.tally import Tally
from chatledger.application.ledger.hand_ins import VersionConflictError
from chatledger.application.ports.generator import (
    MOST_TOKENS,
    FileMade,
    Finish,
    GenerationRequest,
    Generator,
    GeneratorError,
    Part,
    Retrieved,
    StepBegan,
    StepEnded,
    Text,
    TokenCount,
    ToolsReturned,
)
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.domain.errors import DomainError

log = logging.getLogger(__name__)

RequestFor = Callable[[Question], GenerationRequest]
"""What a generator is asked for a question that may be asked."""


class Reading:
    """One attempt's reading of its generator."""

    def __init__(
        self,
        attempt: Attempt,
        generator: Generator,
        request_for: RequestFor,
        tally: Tally,
        gate: Gate,
        steps: Steps,
        closings: Closings,
    ) -> None:
        self._attempt = attempt
        self._generator = generator
        self._request_for = request_for
        self._tally = tally
        self._gate = gate
        self._steps = steps
        self._closings = closings
        self._over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def run(self, seconds: float) -> GeneratorError | None:
        """Read for so many seconds at most; gives what the generator failed with."""
        scope = asyncio.timeout(seconds)
        try:
            await self._within(scope)
        except GenerationStoppedError:
            pass
        except GeneratorError as error:
            return error
        except (DomainError, StorageUnavailableError, VersionConflictError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a generator raises is its failure
            if isinstance(error, TimeoutError) and scope.expired():
                return None
            log.warning("generator %s failed: %s", self._generator.name, describe(error))
            return GeneratorError("internal", INTERNAL_MESSAGE)
        return None

    async def _within(self, scope: asyncio.Timeout) -> None:
        """Read within the scope, and close the generator. What closes too late is left behind."""
        # One task from the beginning to the end: what a generator has entered it leaves in the same.
        reading, over = asyncio.create_task(self._read_and_close()), self._over
        try:
            async with scope:
                self._attempt.within(scope)
                await asyncio.wait([reading, over], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            if not self._attempt.is_left and not over.done():
                self._attempt.stop("timeout")
        finally:
            self._attempt.within(None)
            if not over.done():
                reading.cancel()
            await self._closings.close(reading, self._generator.name)
        if reading.cancelled():
            if not scope.expired():
                raise GeneratorError("internal", INTERNAL_MESSAGE)
        elif reading.done():
            reading.result()
        elif over.done() and (failure := over.result()) is not None:
            raise failure

    async def _read_and_close(self) -> None:
        """In between it is told that all is read, or what reading failed with."""
        question = await self._gate.admit()
        if question is None:
            return
        self._attempt.require_going_on()
        async with aclosing(self._generator.generate(self._request_for(question))) as parts:
            try:
                await self._read(parts)
            except Exception as error:
                self._over.set_result(error)
                raise
            self._over.set_result(None)

    async def _read(self, parts: AsyncGenerator[Part, None]) -> None:
        attempt, gate, steps = self._attempt, self._gate, self._steps
        append, judges = attempt.append, gate.judges_answers
        async for part in parts:
            if isinstance(part, Text):
                text = part.text
                if not text.isascii():
                    text.encode()  # raises here, not in the commit, what UTF-8 cannot hold
                if steps.have_begun:
                    text = steps.joined(text)
                if judges:
                    attempt.require_going_on()
                    text = await gate.let_through(text)
                    if gate.is_shut:
                        return
                if append(text):
                    if attempt.is_full:
                        self._tally.finish_reason = "length"
                        break
                    await attempt.room()
            else:
                await self._note(part)
                if gate.is_shut:
                    return
                if attempt.pass_over():
                    await attempt.room()
        await gate.judge_rest()

    async def _note(self, part: Part) -> None:
        self._attempt.require_going_on()
        # Strictly: a value of a wrong type would go onto the ledger, and could not be read from it.
        # Bytes stay as they are: as text a large file would take long, and text would pass for bytes.
        builtins = msgspec.to_builtins(part, builtin_types=(bytes,))
        match msgspec.convert(builtins, type(part), builtin_types=(bytes,)):
            case Retrieved(resources):
                await self._attempt.retrieve(resources)
            case TokenCount(prompt, completion) as counted:
                if 0 <= prompt <= MOST_TOKENS and 0 <= completion <= MOST_TOKENS:
                    self._tally.counted = counted
            case Finish(reason):
                self._tally.finish_reason = reason
            case StepBegan() | StepEnded() | FileMade() | ToolsReturned() as step:
                await self._steps.note(step)
            case _:
                raise TypeError(f"{type(part).__name__} is no part of an answer")
