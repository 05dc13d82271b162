"""What the clients of a message were shown, event by event."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import Envelope
from chatledger.domain.events import (
    AgentThoughtRecorded,
    AnswerChunkAppended,
    AnswerReplaced,
    FileAttached,
    GenerationRequeued,
    GenerationStarted,
    MessageCompleted,
    MessageCreated,
    MessageErrored,
    MessageEvent,
    MessageStopped,
    ResourcesRetrieved,
    StopRequested,
)
from chatledger.domain.message import Message
from chatledger.domain.values import Usage

ShownKind = Literal[
    "question",
    "text",
    "replacement",
    "step",
    "passages",
    "file",
    "retry",
    "stop_requested",
    "completed",
    "stopped",
    "error",
]


class Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that clients were shown, or could have been.

    Attributes:
        at: when it was recorded, in microseconds since the epoch.
        text: a piece of the answer, all of it where it replaces what was shown, or what else there is to say: the
            question, a step's thought, a file's name, a reason.
        detail: a word beside it: a step's tool, an error's code, who stopped it.
        is_erased: its text is gone.
    """

    message_id: UUID
    position: int
    version: int
    at: int
    kind: ShownKind
    text: str = ""
    detail: str = ""
    usage: Usage | None = None
    is_erased: bool = False


class Screen:
    """Follows one message as its clients do.

    What another attempt drops stays on the screen until there is text in its place, or the answer completes without
    any.
    """

    def __init__(self, message_id: UUID) -> None:
        self._message = Message(message_id)

    @property
    def is_busy(self) -> bool:
        """Whether there is more to come."""
        return not self._message.has_ended

    def show(self, envelope: Envelope) -> Sequence[Shown]:
        """What the next event shows."""
        body, message = envelope.body, self._message
        if not isinstance(body, MessageEvent):
            return ()
        if isinstance(body, AnswerChunkAppended):
            length = message.answer_length
            message.fold_on([body])
            grown = message.answer_length == length + len(body.text)
            return (_shown(envelope, "text" if grown else "replacement", body.text),)
        before = message.answer
        message.fold_on([body])
        match body:
            case AnswerReplaced():
                return (_shown(envelope, "replacement", message.answer),)
            case GenerationStarted() if message.answer != before:
                return (_shown(envelope, "replacement", message.answer),)
            case MessageCompleted():
                end = _shown(envelope, "completed", usage=body.usage)
                return (end,) if message.answer == before else (_shown(envelope, "replacement", message.answer), end)
            case _:
                return _beside(envelope)


def _beside(envelope: Envelope) -> Sequence[Shown]:  # noqa: PLR0911 - one case for each event type
    match envelope.body:
        case MessageCreated(query=query):
            return (_shown(envelope, "question", query),)
        case AgentThoughtRecorded(thought=thought, tool=tool):
            return (_shown(envelope, "step", thought, tool),)
        case ResourcesRetrieved(resources=resources):
            return (_shown(envelope, "passages", "\n".join(each.document_name or "" for each in resources)),)
        case FileAttached(file=file):
            return (_shown(envelope, "file", "" if file is None else file.name),)
        case GenerationRequeued(detail=detail, cause=cause):
            return (_shown(envelope, "retry", detail, cause),)
        case StopRequested(by=by):
            return (_shown(envelope, "stop_requested", detail=by),)
        case MessageStopped(by=by, usage=usage):
            return (_shown(envelope, "stopped", detail=by, usage=usage),)
        case MessageErrored(code=code, message=reason):
            return (_shown(envelope, "error", reason, code),)
        case _:
            return ()


def _shown(envelope: Envelope, kind: ShownKind, text: str = "", detail: str = "", usage: Usage | None = None) -> Shown:
    return Shown(
        message_id=envelope.stream_id,
        position=envelope.position,
        version=envelope.version,
        at=envelope.recorded_at,
        kind=kind,
        text=text,
        detail=detail,
        usage=usage,
        is_erased=envelope.is_erased,
    )
