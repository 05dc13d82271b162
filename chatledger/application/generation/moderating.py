"""The gate between a message and its generator: what may be asked of it, and what of its answer may be said.

A question is judged, and compared with the app's annotations, before any generator is asked. An answer is judged as the
moderator's cadence has it, and at its end. Where it holds what may not be said, all of it gives way to the preset
answer, what was delivered already as well, and nothing more of it is delivered. Without a verdict nothing goes on: the
attempt fails as it does where a provider fails.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from uuid import UUID

import msgspec

from chatledger.application.generation.annotations import Annotations
from chatledger.application.generation.attempt import Attempt
from chatledger.application.generation.failures import INTERNAL_MESSAGE
from chatledger.application.ports.generator import GeneratorError
from chatledger.application.ports.keys import DataKey
from chatledger.application.ports.moderator import AnsweredDirectly, Moderator, Overridden, Verdict
from chatledger.application.ports.views import AppView
from chatledger.application.queries.directory import AppDirectory
from chatledger.domain.configuration import WordAvoidance
from chatledger.domain.message import Message
from chatledger.domain.values import FinishReason, Json, ModerationStage, Usage

log = logging.getLogger(__name__)

PATIENCE = 1.5
"""Seconds that the last verdict on an answer may take that was stopped, or failed."""

Ending = Callable[[Usage, DataKey], Awaitable[None]]


class Question(msgspec.Struct, frozen=True):
    """What a generator is asked."""

    query: str
    inputs: Mapping[str, Json]


class Gates:
    """Makes the gate of each attempt, by the configuration that its app has when it starts."""

    def __init__(self, directory: AppDirectory, moderators: Mapping[str, Moderator], annotations: Annotations) -> None:
        self._directory = directory
        self._moderators = moderators
        self._annotations = annotations

    async def gate(self, attempt: Attempt) -> "Gate":
        """The gate of this attempt."""
        app = await self._directory.app(attempt.message.created.app_id)
        moderator = self._moderators.get(app.configuration.sensitive_word_avoidance.type)
        return Gate(attempt, app, moderator, self._annotations)

    async def admitted_query(self, app_id: UUID, query: str) -> str | None:
        """What a model may be asked of a query outside of any attempt; None where it may not be asked.

        Raises:
            GeneratorError: there is no verdict.
            NotFoundError: the app is gone.
        """
        avoidance = (await self._directory.app(app_id)).configuration.sensitive_word_avoidance
        if not avoidance.applies_to("input"):
            return query
        match await _verdict(self._moderators.get(avoidance.type), avoidance, "input", query):
            case AnsweredDirectly():
                return None
            case Overridden(other):
                return other
            case _:
                return query


class Gate:
    """Stands between one attempt and its generator.

    Attributes:
        judges_answers: whether each piece of the answer has to pass :meth:`let_through`.
        prices: what tokens cost while this attempt lasts.
    """

    def __init__(self, attempt: Attempt, app: AppView, moderator: Moderator | None, annotations: Annotations) -> None:
        self._attempt = attempt
        self._app = app
        self._avoidance = app.configuration.sensitive_word_avoidance
        self._moderator = moderator
        self._annotations = annotations
        self.prices = app.configuration.prices
        self._answer = ""  # what was let through, and of that what was judged
        self._judged = 0
        self._ending: Ending | None = None
        self._cadence = moderator.cadence if moderator else 0
        self.judges_answers = self._avoidance.applies_to("output")

    # The question

    async def admit(self) -> Question | None:
        """What the generator is to be asked; None where the message is answered without it, by :meth:`end`.

        Raises:
            GeneratorError: there is no verdict.
        """
        created = self._attempt.message.created
        question = Question(created.query, created.inputs)
        if self.judges_answers and self._moderator is not None:
            await self._moderator.prepare()
        if self._avoidance.applies_to("input"):
            admitted = await self._judge_question(question)
            if admitted is None:
                return None
            question = admitted
        matched = await self._annotations.match(self._app, question.query)
        if matched is None:
            return question
        number = self._attempt.number
        self._answer_directly(
            lambda message: message.match_annotation(number, matched.annotation_id, matched.score, matched.account),
            matched.answer,
            "stop",
        )
        return None

    async def _judge_question(self, question: Question) -> Question | None:
        objects = {field.variable for field in self._app.configuration.user_input_form if field.type == "json_object"}
        texts = {
            name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
            for name, value in question.inputs.items()
            if isinstance(value, str) or name in objects
        }
        judged = [await self._judge_input(text) for text in (question.query, *texts.values())]
        passed = [text for text in judged if text is not None]
        if len(passed) < len(judged):
            return None
        query, *values = passed
        overridden = {name: text for name, text in zip(texts, values, strict=True) if text != texts[name]}
        if query == question.query and not overridden:
            return question
        await self._attempt.note_moderation("input", "overridden", query)
        return Question(query, {**question.inputs, **overridden})

    async def _judge_input(self, text: str) -> str | None:
        """What may be asked of a text; None where the message is answered directly."""
        match await self._judge("input", text):
            case AnsweredDirectly(answer):
                number = self._attempt.number
                self._answer_directly(
                    lambda message: message.note_moderation(number, "input", "direct_output"), answer, "content_filter"
                )
                return None
            case Overridden(other):
                return other
            case _:
                return text

    def _answer_directly(self, note: Callable[[Message], None], text: str, reason: FinishReason) -> None:
        self._ending = lambda _, key: self._attempt.answer_directly(note, text, reason, key)

    # The answer

    async def let_through(self, text: str) -> str:
        """What may be delivered of a piece of the answer; nothing where the gate is shut by it.

        Raises:
            GeneratorError: there is no verdict.
        """
        answer = self._answer + text
        if len(answer) - self._judged > self._cadence:
            return await self._judge_answer(answer)
        self._answer = answer
        return text

    async def let_stand(self, text: str) -> str:
        """What may be told of what an agent thinks and does beside its answer; nothing where the gate is shut by it.

        Raises:
            GeneratorError: there is no verdict.
        """
        if not self.judges_answers or not text:
            return text
        match await self._judge("output", text):
            case AnsweredDirectly(preset):
                self._shut(preset)
                return ""
            case Overridden(other):
                await self._attempt.note_overridden()
                return other
            case _:
                return text

    async def judge_rest(self) -> None:
        """Judge what of the answer was let through since the last verdict.

        Raises:
            GeneratorError: there is no verdict.
        """
        if self._is_behind:
            await self._judge_answer(self._answer)

    async def judge_broken_off(self) -> None:
        """The same for an answer that was stopped, or failed: where there is no verdict in time, it stays.

        Where this attempt has said nothing, it is what an earlier one has left: its worker may have died unjudged.
        """
        if self.judges_answers:
            self._answer = self._answer or self._attempt.message.answer
        if self._is_behind:
            with suppress(GeneratorError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._judge_answer(self._answer)

    @property
    def _is_behind(self) -> bool:
        return self._judged < len(self._answer) and not self.is_shut

    async def _judge_answer(self, answer: str) -> str:
        """What may be delivered beyond what was let through. Broken off, it leaves all of that to be judged again."""
        match await self._judge("output", answer, self._judged):
            case AnsweredDirectly(preset):
                self._shut(preset)
                return ""
            case Overridden(other) if other.startswith(self._answer):
                await self._attempt.note_overridden()
                answer, piece = other, other[len(self._answer) :]
            case Overridden(other):
                await self._attempt.override(other)
                answer, piece = other, ""
            case _:
                piece = answer[len(self._answer) :]
        self._answer, self._judged = answer, len(answer)
        return piece

    def _shut(self, preset: str) -> None:
        self._ending = lambda usage, key: self._attempt.end_moderated(preset, usage, key)

    async def _judge(self, stage: ModerationStage, text: str, judged: int = 0) -> Verdict:
        return await _verdict(self._moderator, self._avoidance, stage, text, judged)

    # The end

    @property
    def is_shut(self) -> bool:
        """Whether the message ends here, whatever its generator would say."""
        return self._ending is not None

    async def end(self, usage: Usage, key: DataKey) -> None:
        """End the message. ``usage`` is what its generator has cost, if it was asked."""
        if self._ending is not None:
            await self._ending(usage, key)


async def _verdict(
    moderator: Moderator | None, avoidance: WordAvoidance, stage: ModerationStage, text: str, judged: int = 0
) -> Verdict:
    if moderator is None:
        log.warning("no moderator named %s", avoidance.type)
        raise GeneratorError("internal", INTERNAL_MESSAGE)
    return await moderator.judge(stage, text, avoidance, judged)
