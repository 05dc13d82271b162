"""From committed events to the frames of Dify's event stream: one ``data:`` line and a blank line each."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from chatledger.adapters.http.agent_thoughts import thought_frame
from chatledger.adapters.http.answers import encode, epoch_seconds
from chatledger.adapters.http.errors import stream_error
from chatledger.adapters.http.files import Link, answer_files
from chatledger.adapters.http.metadata import answer_metadata, retriever_resources
from chatledger.application.ledger.envelope import Envelope
from chatledger.domain.events import (
    AgentThoughtRecorded,
    AnnotationMatched,
    AnswerChunkAppended,
    AnswerReplaced,
    FileAttached,
    GenerationStarted,
    MessageCompleted,
    MessageCreated,
    MessageErrored,
    MessageStopped,
    ResourcesRetrieved,
)
from chatledger.domain.resources import merged
from chatledger.domain.values import AttachedFile, Resource

PING = b"event: ping\n\n"
RECONNECT = b"retry: 1000\n\n"


class Rendering:
    """One follower's view of one message.

    What depends on the message alone is encoded once; per piece of text only the text is. A frame is not shared among
    followers: encoding one costs less than finding it.
    """

    def __init__(
        self,
        message_id: UUID,
        created: Envelope,
        *,
        shows_resources: bool,
        link: Link,
        gives_ids: bool = False,
        after: int = 0,
    ) -> None:
        """``after`` is the version up to which events count, but are not shown again."""
        body = created.body
        if not isinstance(body, MessageCreated):
            raise TypeError("a message begins with MessageCreated")
        self.has_ended = False
        self.has_failed = False
        self._message_id = message_id
        self._shows_resources = shows_resources
        self.gives_ids = gives_ids
        self._after = after
        self._link = link
        self._query_files = body.files
        self._answer_files: tuple[AttachedFile, ...] = ()
        self._text: list[str] = []
        self._is_stale = False
        self._resources: tuple[Resource, ...] = ()
        self._annotation: AnnotationMatched | None = None
        common = {"message_id": str(message_id), "created_at": epoch_seconds(created.recorded_at)}
        if body.mode != "completion":
            common = {"conversation_id": str(body.conversation_id)} | common
        self._common = encode(common)[1:-1]
        self._common_with_task = self._common + b',"task_id":"%s"' % str(body.task_id).encode()
        own_id = b',"id":"%s"' % str(message_id).encode()
        self._is_agent = is_agent = body.mode == "agent-chat"
        self._chunk_prefix = self._opening(b"agent_message" if is_agent else b"message") + own_id + b',"answer":'
        self._chunk_suffix = b"}\n\n" if is_agent else b',"from_variable_selector":null}\n\n'

    def render(self, envelopes: Sequence[Envelope]) -> bytes:
        """The frames of these events, in a row with those before."""
        frames = []
        for envelope in envelopes:
            frame = self.frames_of(envelope)
            if frame and envelope.version > self._after:
                frames.append(frame)
                if self.gives_ids:
                    frames.append(b"id: %s:%d\n\n" % (str(self._message_id).encode(), envelope.version))
        return b"".join(frames)

    def frames_of(self, envelope: Envelope) -> bytes:
        """Those of the next event, which may have several or none."""
        body = envelope.body
        return self._chunk(body.text) if type(body) is AnswerChunkAppended else self._rare(body)

    def _chunk(self, text: str) -> bytes:
        if self._is_stale:
            self._text = [text]
            return self._replacement(text)
        self._text.append(text)
        return self._chunk_prefix + _line(encode(text)) + self._chunk_suffix

    def _rare(self, body: Any) -> bytes:
        match body:
            case GenerationStarted():
                return self._attempt_started(body)
            case ResourcesRetrieved():
                self._resources = merged(self._resources, body.resources)
            case AnswerReplaced():
                self._text = [body.text]
                return self._replacement(body.text)
            case AnnotationMatched():
                self._annotation = body
            case AgentThoughtRecorded() | FileAttached():
                return self._acted(body)
            case MessageCompleted() | MessageStopped():
                self.has_ended = True
                return self._message_end(body)
            case MessageErrored():
                self.has_ended = self.has_failed = True
                fields = encode(stream_error(body))
                return b'data: {"event":"error",' + self._common + b"," + _line(fields[1:]) + b"\n\n"
        return b""

    def _attempt_started(self, started: GenerationStarted) -> bytes:
        """What another attempt drops is replaced as soon as there is something to show instead; until then it stays."""
        self._resources = ()
        self._answer_files = ()
        self._annotation = None
        shown = "".join(self._text)
        self._is_stale = bool(shown) and not started.offset
        kept = shown[: started.offset]
        if self._is_stale or kept == shown:
            return b""
        self._text = [kept]
        return self._replacement(kept)

    def _replacement(self, text: str) -> bytes:
        self._is_stale = False
        return self._opening(b"message_replace") + b',"answer":' + _line(encode(text)) + b',"reason":""}\n\n'

    def _message_end(self, end: MessageCompleted | MessageStopped) -> bytes:
        resources = retriever_resources(self._resources if self._shows_resources else (), self._message_id)
        metadata = answer_metadata(resources, self._annotation, end)
        files = answer_files((*self._query_files, *self._answer_files), self._link)
        own = {"id": str(self._message_id), "metadata": metadata, "files": files}
        return self._blank(end) + self._frame(b"message_end", own)

    def _blank(self, end: MessageCompleted | MessageStopped) -> bytes:
        """What was shown of a dropped attempt goes where a whole answer has no text."""
        if not self._is_stale or isinstance(end, MessageStopped):
            return b""
        self._text = []
        return self._replacement("")

    def _acted(self, body: AgentThoughtRecorded | FileAttached) -> bytes:
        match body:
            case AgentThoughtRecorded() if self._is_agent:
                return self._frame(b"agent_thought", thought_frame(body))
            case FileAttached(file=AttachedFile() as file):
                self._answer_files = (*self._answer_files, file)
                own = {"id": file.file_id, "type": file.kind, "belongs_to": file.belongs_to, "url": self._link(file)}
                return self._frame(b"message_file", own)
            case _:
                return b""

    def _frame(self, event: bytes, own: msgspec.Struct | Mapping[str, Any]) -> bytes:
        return self._opening(event) + b"," + _line(encode(own)[1:]) + b"\n\n"

    # What may follow the end

    @property
    def answer(self) -> str:
        """The text that is shown."""
        return "".join(self._text)

    def spoken(self, audio: bytes) -> bytes:
        """The frame of a piece of the answer's sound."""
        return self._opening(b"tts_message") + b',"audio":"' + b64encode(audio) + b'"}\n\n'

    def spoken_to_the_end(self) -> bytes:
        """The frame after the last of them."""
        return self._opening(b"tts_message_end") + b',"audio":""}\n\n'

    def _opening(self, event: bytes) -> bytes:
        return b'data: {"event":"' + event + b'",' + self._common_with_task


def _line(json: bytes) -> bytes:
    r"""JSON on one line for every reader: some split at U+0085, U+2028 and U+2029 as well, which JSON leaves as is."""
    if b"\xe2\x80" in json:
        json = json.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    if b"\xc2\x85" in json:
        json = json.replace(b"\xc2\x85", b"\\u0085")
    return json
