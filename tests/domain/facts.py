"""Events to tell stories with."""

from datetime import UTC, datetime
from uuid import UUID

from chatledger.domain.events import (
    AgentThoughtRecorded,
    AnnotationMatched,
    AnswerChunkAppended,
    AnswerReplaced,
    FeedbackGiven,
    FileAttached,
    GenerationRequeued,
    GenerationStarted,
    MessageCompleted,
    MessageCreated,
    MessageErrored,
    MessageStopped,
    ModerationHit,
    StopRequested,
)
from chatledger.domain.values import NIL_UUID, Account, AttachedFile, Thought, Usage

APP = UUID("0198a000-0000-7000-8000-00000000000a")
END_USER = UUID("0198a000-0000-7000-8000-00000000000b")
CONVERSATION = UUID("0198a000-0000-7000-8000-00000000000c")
TASK = UUID("0198a000-0000-7000-8000-00000000000d")
LATER = datetime(2031, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
USAGE = Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)

asked = MessageCreated(
    conversation_id=CONVERSATION,
    parent_id=NIL_UUID,
    app_id=APP,
    end_user_id=END_USER,
    task_id=TASK,
    mode="chat",
    generator="scripted",
    prompt_version=1,
    context_cut=41,
    parameters={"temperature": 0.5},
    inputs={"name": "Ann"},
    query="Why is the sky blue?",
)
ANNOTATION = UUID("0198a000-0000-7000-8000-00000000000e")
AUTHOR = Account(id=APP, name="Ann")
THOUGHT = Thought(
    thought_id=UUID("0198a000-0000-7000-8000-00000000000f"),
    position=1,
    thought="I should look it up.",
    tool="search",
    tool_labels={"search": {"en_US": "Search"}},
    tool_input='{"search": {"query": "sky"}}',
)
CHART = AttachedFile(
    file_id=UUID("0198a000-0000-7000-8000-000000000010"),
    kind="image",
    transfer_method="tool_file",
    belongs_to="assistant",
    name="chart.png",
)
stop_requested = StopRequested(by="user")


def started(attempt: int) -> GenerationStarted:
    return GenerationStarted(attempt=attempt, worker=f"worker-{attempt}")


def continued(attempt: int, offset: int) -> GenerationStarted:
    return GenerationStarted(attempt=attempt, worker=f"worker-{attempt}", base="continue", offset=offset)


def chunk(attempt: int, text: str) -> AnswerChunkAppended:
    return AnswerChunkAppended(attempt, text)


def requeued(attempt: int) -> GenerationRequeued:
    return GenerationRequeued(
        attempt=attempt, cause="completion_request_error", detail="the provider was busy", not_before=LATER
    )


def handed_over(attempt: int) -> GenerationRequeued:
    return GenerationRequeued(attempt=attempt, cause="handed_over", detail="", not_before=LATER)


def completed(attempt: int) -> MessageCompleted:
    return MessageCompleted(attempt=attempt, usage=USAGE, finish_reason="stop", fingerprint="f1")


def stopped(attempt: int, offset: int) -> MessageStopped:
    return MessageStopped(by="user", attempt=attempt, offset=offset, usage=USAGE, fingerprint="f2")


def errored(attempt: int) -> MessageErrored:
    return MessageErrored(attempt=attempt, code="provider_quota_exceeded", message="no credit left")


def liked(attempt: int, version: int, content: str | None = None) -> FeedbackGiven:
    return FeedbackGiven(source="user", rating="like", content=content, attempt=attempt, rated_version=version)


def replaced(attempt: int, text: str) -> AnswerReplaced:
    return AnswerReplaced(attempt=attempt, reason="output_moderation", text=text)


def thought(attempt: int) -> AgentThoughtRecorded:
    return AgentThoughtRecorded(
        attempt=attempt,
        thought_id=THOUGHT.thought_id,
        position=1,
        thought="I should look it up.",
        tool="search",
        tool_labels={"search": {"en_US": "Search"}},
        tool_input='{"search": {"query": "sky"}}',
    )


def attached(attempt: int) -> FileAttached:
    return FileAttached(attempt=attempt, file=CHART)


def moderated(attempt: int) -> ModerationHit:
    return ModerationHit(attempt=attempt, stage="output", action="direct_output")


def refused(attempt: int) -> ModerationHit:
    return ModerationHit(attempt=attempt, stage="input", action="direct_output")


def reworded(attempt: int) -> ModerationHit:
    return ModerationHit(attempt=attempt, stage="input", action="overridden", query="what ***?")


def matched(attempt: int) -> AnnotationMatched:
    return AnnotationMatched(attempt=attempt, annotation_id=ANNOTATION, score=0.97, account=AUTHOR)
