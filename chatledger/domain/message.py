"""A message: a question, and the attempts to answer it."""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never
from uuid import UUID

import msgspec

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.errors import (
    FencedOutError,
    MessageEndedError,
    NothingToWithdrawError,
    StopPendingError,
)
from chatledger.domain.events import (
    AgentThoughtRecorded,
    AnnotationMatched,
    AnswerChunkAppended,
    AnswerReplaced,
    FeedbackGiven,
    FeedbackWithdrawn,
    FileAttached,
    GenerationRequeued,
    GenerationStarted,
    MessageCompleted,
    MessageCreated,
    MessageErrored,
    MessageEvent,
    MessageSaved,
    MessageStopped,
    MessageUnsaved,
    ModerationHit,
    ResourcesRetrieved,
    StopRequested,
    SuggestedQuestionsProposed,
)
from chatledger.domain.resources import merged
from chatledger.domain.values import (
    TERMINAL_STATES,
    TURN_TAKERS,
    Account,
    AttachedFile,
    AttemptBase,
    ErrorCode,
    Feedback,
    FeedbackSource,
    FinishReason,
    ModerationAction,
    ModerationStage,
    Rating,
    RequeueCause,
    Resource,
    StoppedBy,
    TaskState,
    Thought,
    Usage,
)


class Message(Aggregate[MessageEvent]):
    """Exactly one terminal event; generation events only from the current attempt and only before it.

    Attributes:
        created: what was asked; the first event of every message.
        attempt: the number of the newest attempt, 0 before the first. It is the fencing token.
        failures: how many attempts were given up because they failed.
        take_overs: how many were taken over, their workers being dead or too slow.
        state: the state of the generation task.
        resources: the passages that the current attempt rests on.
        thoughts: the steps of the current attempt by position.
        files: what tools of the current attempt made.
        is_refused: whether the question may not be asked: then it is no part of a later prompt either.
        admitted_query: what is asked in the query's place, where moderation overrides it; later prompts have it too.
        annotation: what answered in the current attempt in place of a generator.
        suggestions: what to ask next, where a model was asked for it.
        error: why the message failed, where it did.
    """

    created: MessageCreated

    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.attempt = 0
        self.failures = 0
        self.take_overs = 0
        self.state: TaskState = "queued"
        self.attempt_is_open = False
        self._context_cut: int | None = None
        self.not_before: datetime | None = None
        self.stop_requested_by: StoppedBy | None = None
        self.resources: tuple[Resource, ...] = ()
        self.thoughts: dict[int, Thought] = {}
        self.files: tuple[AttachedFile, ...] = ()
        self.annotation: AnnotationMatched | None = None
        self.is_refused = False
        self.admitted_query: str | None = None
        self.suggestions: tuple[str, ...] | None = None
        self.is_saved = False
        self.error: MessageErrored | None = None
        self.feedback: dict[FeedbackSource, Feedback] = {}
        self.answer_length = 0
        self._answer: list[str] = []
        self._is_superseded = False

    # Questions

    @property
    def answer(self) -> str:
        """The fold of the attempts by their bases.

        What a reset drops stays until there is text in its place, or the attempt completes without any: nobody sees a
        blank, and what had been delivered is kept if nothing ever comes.
        """
        if len(self._answer) > 1:
            self._answer = ["".join(self._answer)]
        return self._answer[0] if self._answer else ""

    @property
    def context_cut(self) -> int:
        """The ledger position up to which history is read for the prompt of every attempt."""
        return self.created.context_cut if self._context_cut is None else self._context_cut

    @property
    def completed_answer(self) -> str:
        """The answer as it would be if the newest attempt completed now."""
        return "" if self._is_superseded else self.answer

    @property
    def has_ended(self) -> bool:
        """Whether the terminal event is on record."""
        return self.state in TERMINAL_STATES

    @property
    def waits(self) -> bool:
        """Whether it may begin only when all that came before it in its conversation has ended."""
        return self.attempt == 0 and self.created.on_busy in TURN_TAKERS and not self.has_ended

    def is_put_back_at(self, moment: datetime) -> bool:
        """Whether the next attempt has to wait at this time. A stop need not."""
        return self.not_before is not None and moment < self.not_before and self.stop_requested_by is None

    # Commands

    @classmethod
    def create(cls, message_id: UUID, created: MessageCreated) -> "Message":
        """Ask."""
        message = cls(message_id)
        message._record(created)
        return message

    def start_attempt(
        self, worker: str, base: AttemptBase = "reset", offset: int = 0, context_cut: int | None = None
    ) -> int:
        """Open the next attempt and fence out every earlier one; returns its number.

        ``context_cut`` is that of a message that had to wait for its turn, with its first attempt.

        Raises:
            MessageEndedError: the message has its terminal event.
            StopPendingError: somebody asked for the generation to end.
        """
        self._require_going_on()
        keep = max(0, min(offset, self.answer_length)) if base == "continue" else 0
        self._record(
            GenerationStarted(attempt=self.attempt + 1, worker=worker, base=base, offset=keep, context_cut=context_cut)
        )
        return self.attempt

    def append_chunk(self, attempt: int, text: str) -> None:
        """Add to the answer. Empty text is no fact and records nothing.

        Raises:
            FencedOutError: the attempt is not the open one.
        """
        self._require_open(attempt)
        if text:
            self._record(AnswerChunkAppended(attempt, text))

    def record_resources(self, attempt: int, resources: Sequence[Resource]) -> None:
        """Note the passages that the answer rests on.

        Raises:
            FencedOutError: the attempt is not the open one.
        """
        self._require_open(attempt)
        self._record(ResourcesRetrieved(attempt=attempt, resources=tuple(resources)))

    def replace_answer(self, attempt: int, text: str, reason: str) -> None:
        """Put another text in the place of all that was answered.

        The words of an agent's steps go too: they are what was answered, step by step.

        Raises:
            FencedOutError: the attempt is not the open one.
        """
        self._require_open(attempt)
        for thought in [each for each in self.thoughts.values() if each.thought]:
            self.record_thought(attempt, msgspec.structs.replace(thought, thought=""))
        self._record(AnswerReplaced(attempt=attempt, reason=reason, text=text))

    def record_thought(self, attempt: int, thought: Thought) -> None:
        """Note how far a step of an agent has come.

        Raises:
            FencedOutError: the attempt is not the open one.
        """
        self._require_open(attempt)
        self._record(AgentThoughtRecorded(attempt=attempt, **msgspec.structs.asdict(thought)))

    def attach_file(self, attempt: int, file: AttachedFile) -> None:
        """Add a file that a tool made.

        Raises:
            FencedOutError: the attempt is not the open one.
        """
        self._require_open(attempt)
        self._record(FileAttached(attempt=attempt, file=file))

    def note_moderation(
        self, attempt: int, stage: ModerationStage, action: ModerationAction, query: str | None = None
    ) -> None:
        """Note that the question or the answer holds what may not be said.

        Raises:
            FencedOutError: the attempt is not the open one.
        """
        self._require_open(attempt)
        self._record(ModerationHit(attempt=attempt, stage=stage, action=action, query=query))

    def match_annotation(self, attempt: int, annotation_id: UUID, score: float, account: Account) -> None:
        """Note that an annotation answers in place of the generator.

        Raises:
            FencedOutError: the attempt is not the open one.
        """
        self._require_open(attempt)
        self._record(AnnotationMatched(attempt=attempt, annotation_id=annotation_id, score=score, account=account))

    def requeue(self, attempt: int, cause: RequeueCause, detail: str, not_before: datetime) -> None:
        """Give the attempt up for a later one.

        Raises:
            FencedOutError: the attempt is not the open one.
            StopPendingError: somebody asked for the generation to end.
        """
        self._require_open(attempt)
        self._require_going_on()
        self._record(GenerationRequeued(attempt=attempt, cause=cause, detail=detail, not_before=not_before))

    def request_stop(self, by: StoppedBy) -> None:
        """Ask for the generation to end. Asking again, or after the end, changes nothing."""
        if not self.has_ended and self.stop_requested_by is None:
            self._record(StopRequested(by=by))

    def stop(self, attempt: int, by: StoppedBy, usage: Usage, fingerprint: str) -> None:
        """End the generation from outside; what was answered stays.

        Raises:
            FencedOutError: the attempt is not the newest one.
        """
        self._require_newest(attempt)
        self._record(
            MessageStopped(by=by, attempt=attempt, offset=self.answer_length, usage=usage, fingerprint=fingerprint)
        )

    def fail(self, attempt: int, code: ErrorCode, reason: str) -> None:
        """End the generation as failed; what was answered stays.

        Raises:
            FencedOutError: the attempt is not the newest one.
        """
        self._require_newest(attempt)
        self._record(MessageErrored(attempt=attempt, code=code, message=reason))

    def complete(self, attempt: int, usage: Usage, finish_reason: FinishReason, fingerprint: str) -> None:
        """End the generation: the answer is whole.

        Raises:
            FencedOutError: the attempt is not the open one.
        """
        self._require_open(attempt)
        self._record(
            MessageCompleted(attempt=attempt, usage=usage, finish_reason=finish_reason, fingerprint=fingerprint)
        )

    def give_feedback(self, source: FeedbackSource, rating: Rating, content: str | None) -> None:
        """Rate the message as it stands; a second rating from the same side replaces the first."""
        self._record(
            FeedbackGiven(
                source=source, rating=rating, content=content, attempt=self.attempt, rated_version=self.version
            )
        )

    def withdraw_feedback(self, source: FeedbackSource) -> None:
        """Take a rating back.

        Raises:
            NothingToWithdrawError: that side has given none.
        """
        if source not in self.feedback:
            raise NothingToWithdrawError
        self._record(FeedbackWithdrawn(source=source))

    def propose_questions(self, questions: Sequence[str]) -> None:
        """Keep what a model would ask next. Of an answer that has them, or is not at its end, it records nothing."""
        if self.has_ended and self.suggestions is None:
            self._record(SuggestedQuestionsProposed(tuple(questions)))

    def save(self) -> None:
        """Keep the message at hand. Doing so again changes nothing."""
        if not self.is_saved:
            self._record(MessageSaved())

    def unsave(self) -> None:
        """Keep it no longer. Doing so again changes nothing."""
        if self.is_saved:
            self._record(MessageUnsaved())

    # Guards

    def _require_unended(self) -> None:
        if self.has_ended:
            raise MessageEndedError

    def _require_going_on(self) -> None:
        self._require_unended()
        if self.stop_requested_by is not None:
            raise StopPendingError(self.stop_requested_by)

    def _require_newest(self, attempt: int) -> None:
        self._require_unended()
        if attempt != self.attempt:
            raise FencedOutError

    def _require_open(self, attempt: int) -> None:
        self._require_newest(attempt)
        if not self.attempt_is_open:
            raise FencedOutError

    # State

    def apply(self, body: MessageEvent) -> None:  # noqa: PLR0912 - one case for each event type
        """Fold one event into the state."""
        match body:
            case AnswerChunkAppended(_, text) if not self._is_superseded:
                self._answer.append(text)
                self.answer_length += len(text)
            case AnswerChunkAppended(_, text):
                self._set_answer(text)
            case MessageCreated():
                self.created = body
            case GenerationStarted():
                self._apply_attempt(body)
            case AnswerReplaced():
                self._set_answer(body.text)
            case AgentThoughtRecorded():
                self.thoughts[body.position] = _thought(body)
            case FileAttached():
                if body.file is not None:
                    self.files = (*self.files, body.file)
            case ModerationHit():
                self.is_refused = self.is_refused or (body.stage, body.action) == ("input", "direct_output")
                self.admitted_query = self.admitted_query if body.query is None else body.query
            case AnnotationMatched():
                self.annotation = body
            case ResourcesRetrieved():
                self.resources = merged(self.resources, body.resources)
            case GenerationRequeued():
                self._apply_requeue(body)
            case StopRequested():
                self.stop_requested_by = body.by
                self.state = "stopping"
            case MessageStopped():
                self._end("stopped")
            case MessageErrored():
                self.error = body
                self._end("errored")
            case MessageCompleted():
                self._set_answer(self.completed_answer)
                self._end("completed")
            case FeedbackGiven():
                self.feedback[body.source] = Feedback(body.rating, body.content)
            case FeedbackWithdrawn():
                del self.feedback[body.source]
            case SuggestedQuestionsProposed():
                self.suggestions = body.questions
            case MessageSaved():
                self.is_saved = True
            case MessageUnsaved():
                self.is_saved = False
            case _:
                assert_never(body)

    def _apply_attempt(self, started: GenerationStarted) -> None:
        self.attempt = started.attempt
        if started.context_cut is not None:
            self._context_cut = started.context_cut
        if self.attempt_is_open:
            self.take_overs += 1
        self.attempt_is_open = True
        self.not_before = None
        self.resources = ()
        self.thoughts = {}
        self.files = ()
        self.annotation = None
        self.is_refused = False
        self.admitted_query = None
        if started.offset:
            self._set_answer(self.answer[: started.offset])
        else:
            self._is_superseded = self.answer_length > 0
        self.state = "running"

    def _set_answer(self, text: str) -> None:
        self._answer = [text]
        self.answer_length = len(text)
        self._is_superseded = False

    def _apply_requeue(self, requeued: GenerationRequeued) -> None:
        self.attempt_is_open = False
        if requeued.cause != "handed_over":
            self.failures += 1
        self.not_before = requeued.not_before
        self.state = "retrying"

    def _end(self, state: TaskState) -> None:
        self.attempt_is_open = False
        self.state = state


def _thought(recorded: AgentThoughtRecorded) -> Thought:
    return Thought(
        thought_id=recorded.thought_id,
        position=recorded.position,
        thought=recorded.thought,
        tool=recorded.tool,
        tool_labels=recorded.tool_labels,
        tool_input=recorded.tool_input,
        observation=recorded.observation,
        files=recorded.files,
    )
