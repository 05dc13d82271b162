"""What answers: an async stream of typed parts."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, Protocol
from uuid import UUID

import msgspec

from chatledger.domain.values import AppMode, FileKind, FinishReason, Json, Resource

GeneratorErrorKind = Literal["transient", "timeout", "quota", "credentials", "invalid", "content", "internal"]

MOST_TOKENS = 1_000_000_000
"""No model reads or writes more: a larger count is a mistake."""


class GeneratorError(Exception):
    """The generator gave up.

    Attributes:
        kind: what may be done about it. Only ``transient`` and ``timeout``, silence, may pass by themselves.
        retry_after: seconds after which the provider wants to be asked again, if it said so.
    """

    def __init__(self, kind: GeneratorErrorKind, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind: GeneratorErrorKind = kind
        self.retry_after = retry_after


class SettingsError(ValueError):
    """A generator's setting has an unknown name or an impossible value; the text names it."""


class Text(msgspec.Struct, frozen=True):
    """A piece of the answer: any text that UTF-8 can hold."""

    text: str


class Retrieved(msgspec.Struct, frozen=True):
    """The passages that the answer rests on."""

    resources: tuple[Resource, ...]


class TokenCount(msgspec.Struct, frozen=True):
    """What the provider counted."""

    prompt_tokens: int
    completion_tokens: int


class Finish(msgspec.Struct, frozen=True):
    """The generator's own reason for ending."""

    reason: FinishReason


class StepBegan(msgspec.Struct, frozen=True):
    """An agent begins a step. The text up to the end of the step is its own."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent wants of a tool. ``labels`` are the tool's name in each language."""

    tool: str
    arguments: dict[str, Json]
    labels: dict[str, str] = {}


class StepEnded(msgspec.Struct, frozen=True):
    """An agent has said its thought, and calls these tools; none in its last step."""

    thought: str
    calls: tuple[ToolCall, ...] = ()


class FileMade(msgspec.Struct, frozen=True):
    """A tool made a file for the answer."""

    name: str
    content: bytes


class ToolsReturned(msgspec.Struct, frozen=True):
    """The tools of the step are done: a JSON value for each call, in their order."""

    results: tuple[Json, ...]


Part = Text | Retrieved | TokenCount | Finish | StepBegan | StepEnded | FileMade | ToolsReturned


class Exchange(msgspec.Struct, frozen=True):
    """An earlier question of the conversation with its answer."""

    query: str
    answer: str


class SentFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that goes with a message.

    Attributes:
        kind: what its sender means it to be used as; of a stored file it is what its bytes are, or ``custom``, or
            ``document`` where they do not tell.
        mime_type: what its bytes are; None for a file that stays where it is.
        size: in bytes; None for a file that stays where it is.
        url: where it is, if it is not stored here. Nobody has looked what is there.
        detail: how closely a model is to look at a picture.
        variable: the input that it is the value of, if it is one.
        open: gives the bytes of a stored file, piece by piece. Whoever reads closes it.
    """

    kind: FileKind
    name: str
    mime_type: str | None = None
    size: int | None = None
    url: str | None = None
    detail: Literal["low", "high"] | None = None
    variable: str | None = None
    open: Callable[[], AsyncGenerator[bytes, None]] | None = None

    async def read(self, most: int) -> bytes:
        """All bytes of a stored file.

        Raises:
            GeneratorError: it is not stored here, has more than ``most`` bytes, or cannot be read.
        """
        if self.open is None or self.size is None:
            raise GeneratorError("invalid", f"The file {self.name} is not stored here.")
        if self.size > most:
            raise GeneratorError("invalid", f"The file {self.name} is too large for the model.")
        async with aclosing(self.open()) as pieces:
            return b"".join([piece async for piece in pieces])


class ReadHistory(Protocol):
    """Reads the earlier exchanges of a message's branch, oldest first, as they were at the context cut."""

    async def __call__(self, most: int | None = None) -> Sequence[Exchange]:
        """The latest ones, at most so many: whoever needs few spares the reading of the others. None is no limit."""
        ...


async def _no_variables() -> Mapping[str, Json]:
    return {}


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an attempt may depend on.

    Attributes:
        attempt: counts from 1.
        settings: the generator's settings as they were when the message was sent.
        history: reads what was said before.
        variables: reads the conversation's variables by name, as they were at the context cut.
        files: what goes with the message. A generator refuses with ``invalid`` what it cannot use, or says in its
            documentation that it passes over files.
    """

    message_id: UUID
    attempt: int
    mode: AppMode
    query: str
    inputs: Mapping[str, Any]
    settings: Mapping[str, Any]
    history: ReadHistory
    variables: Callable[[], Awaitable[Mapping[str, Json]]] = _no_variables
    files: Sequence[SentFile] = ()


class Generator(Protocol):
    """One way to answer."""

    @property
    def name(self) -> str:
        """What apps call it."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether a second attempt may ask again after a crash."""
        ...

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse what the generator would not understand.

        Raises:
            SettingsError: the setting and the reason.
        """
        ...

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The settings that one message is answered with; recorded with it.

        Raises:
            SettingsError: the query asks for settings that do not exist.
        """
        ...

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        """Answer. Closing the stream closes the connection to the provider.

        Raises:
            GeneratorError: while iterating.
        """
        ...

    async def close(self) -> None:
        """Release what the generator holds."""
        ...
