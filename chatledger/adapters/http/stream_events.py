"""The events of a stream as its description has them: `rendering` writes them, and the tests read each by these."""

from collections.abc import Mapping, Sequence
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from chatledger.adapters.http.files import AnswerFileObject
from chatledger.adapters.http.metadata import Metadata
from chatledger.domain.values import FileKind, FinishReason


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What all events have. Completions have no conversation. Times are epoch seconds, of the message."""

    conversation_id: UUID | UnsetType = UNSET
    message_id: UUID
    created_at: int


class _TaskEvent(_Event, frozen=True, kw_only=True):
    task_id: UUID


class MessageEvent(_TaskEvent, frozen=True, kw_only=True, tag="message"):
    """A piece of the answer."""

    id: UUID
    answer: str
    from_variable_selector: None


class AgentMessageEvent(_TaskEvent, frozen=True, kw_only=True, tag="agent_message"):
    """A piece of an agent's answer."""

    id: UUID
    answer: str


class AgentThoughtEvent(_TaskEvent, frozen=True, kw_only=True, tag="agent_thought"):
    """A step of an agent, as far as it has come; the same ``id`` again is the same step, further on.

    ``tool_input`` and ``observation`` are JSON in a string.
    """

    id: UUID
    position: int
    thought: str
    observation: str
    tool: str
    tool_labels: Mapping[str, Mapping[str, str]]
    tool_input: str
    message_files: Sequence[UUID]


class MessageFileEvent(_TaskEvent, frozen=True, kw_only=True, tag="message_file"):
    """A file that belongs to the answer."""

    id: UUID
    type: FileKind
    belongs_to: Literal["user", "assistant"]
    url: str | None


class MessageReplaceEvent(_TaskEvent, frozen=True, kw_only=True, tag="message_replace"):
    """What is shown instead of all pieces before."""

    answer: str
    reason: str


class EndMetadata(Metadata, frozen=True, kw_only=True):
    """What is told beside a whole answer, and how it came to its end."""

    status: Literal["completed", "stopped"]
    finish_reason: FinishReason | UnsetType = UNSET
    stopped_by: str | UnsetType = UNSET


class MessageEndEvent(_TaskEvent, frozen=True, kw_only=True, tag="message_end"):
    """The end of the answer."""

    id: UUID
    metadata: EndMetadata
    files: Sequence[AnswerFileObject] | None


class TtsMessageEvent(_TaskEvent, frozen=True, kw_only=True, tag="tts_message"):
    """A piece of the answer's sound: MP3 in Base64."""

    audio: str


class TtsMessageEndEvent(_TaskEvent, frozen=True, kw_only=True, tag="tts_message_end"):
    """The end of the sound."""

    audio: str


class ErrorEvent(_Event, frozen=True, kw_only=True, tag="error"):
    """The end of an answer that failed. ``status`` is what clients show; ``http_status`` is the true one."""

    code: str
    message: str
    status: Literal[400, 500]
    http_status: int


StreamEvent = (
    MessageEvent
    | AgentMessageEvent
    | AgentThoughtEvent
    | MessageFileEvent
    | MessageReplaceEvent
    | MessageEndEvent
    | TtsMessageEvent
    | TtsMessageEndEvent
    | ErrorEvent
)
