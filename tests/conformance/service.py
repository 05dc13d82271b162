"""What a scenario does, whatever surface it is done through, and what it is told."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from chatledger.application.files.attaching import FileReference
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.values import NIL_UUID, AppMode, Rating


class Ids(NamedTuple):
    """A message that was taken in."""

    message: UUID
    task: UUID
    conversation: UUID


class Whole(NamedTuple):
    """An answer that was waited for. ``end`` is ``completed`` or ``stopped``."""

    ids: Ids
    text: str
    end: str
    tokens: int


class Streamed(NamedTuple):
    """What a client shows after a stream, and how that ended: ``completed``, ``stopped`` or an error's code."""

    text: str
    end: str


class Told(NamedTuple):
    """A message as the stream of its conversation showed it, and the position at which it ended."""

    message: UUID
    text: str
    position: int


class Seen(NamedTuple):
    """A message of the history."""

    query: str
    answer: str
    failed: bool
    rating: Rating | None


class Listed(NamedTuple):
    """A conversation of a list."""

    id: UUID
    name: str


class Variable(NamedTuple):
    """A variable of a conversation, its value as text."""

    id: UUID
    name: str
    value: str


class Service(Protocol):
    """A chatledger, seen through one of its surfaces. Refusals are raised as the application's own errors."""

    async def create_app(self, mode: AppMode, configuration: AppConfiguration) -> UUID: ...

    async def configure(self, app: UUID, configuration: AppConfiguration) -> None: ...

    async def annotate(self, app: UUID, question: str, answer: str, annotation: UUID | None = None) -> UUID: ...

    async def remove_annotation(self, app: UUID, annotation: UUID) -> None: ...

    async def annotations(self, app: UUID, keyword: str = "") -> Sequence[tuple[str, str, int]]: ...

    async def rotate_key(self, app: UUID) -> None: ...

    async def switch_app(self, app: UUID, to: Literal["disable", "enable", "delete"]) -> None: ...

    async def send(
        self,
        app: UUID,
        query: str,
        user: str | None = "ada",
        *,
        inputs: Mapping[str, Any] | None = None,
        conversation: UUID | None = None,
        automatic_name: bool = True,
        on_busy: Any = None,
        trace: str | None = None,
        idempotency_key: str | None = None,
    ) -> Ids: ...

    async def ask(
        self,
        app: UUID,
        query: str,
        user: str | None = "ada",
        *,
        inputs: Mapping[str, Any] | None = None,
        files: Sequence[FileReference] = (),
        conversation: UUID | None = None,
        parent: UUID = NIL_UUID,
        idempotency_key: str | None = None,
    ) -> Whole: ...

    async def upload(self, app: UUID, name: str, content: bytes, user: str | None = "ada") -> UUID: ...

    async def files(self, app: UUID, message: UUID, user: str | None = "ada") -> Sequence[tuple[str, str, Any]]: ...

    async def regenerate(
        self, app: UUID, message: UUID, user: str | None = "ada", *, idempotency_key: str | None = None
    ) -> Ids: ...

    async def complete(self, app: UUID, inputs: Mapping[str, Any], query: str = "", user: str = "ada") -> Whole: ...

    async def more_like(self, app: UUID, message: UUID, user: str | None = "ada") -> Ids: ...

    async def suggest(self, app: UUID, message: UUID, user: str | None = "ada") -> Sequence[str]: ...

    async def follow(self, app: UUID, ids: Ids, user: str | None = "ada", *, after: int = 0) -> Streamed: ...

    async def versions(self, app: UUID, ids: Ids, *, after: int) -> list[int]: ...

    async def told(
        self, app: UUID, conversation: UUID, ends: int, user: str | None = "ada", *, after: int = 0
    ) -> Sequence[Told]:
        """So many messages that end after a position, from the stream of their conversation."""
        ...

    async def first_text(self, app: UUID, ids: Ids) -> str: ...

    async def stop(self, app: UUID, ids: Ids, user: str = "ada") -> None: ...

    async def task(self, app: UUID, task: UUID, user: str | None = "ada") -> tuple[str, int, str | None]: ...

    async def message(self, app: UUID, message: UUID, user: str | None = "ada") -> tuple[Seen, int]: ...

    async def events(self, app: UUID, message: UUID, user: str | None = "ada") -> Sequence[tuple[str, str]]: ...

    async def history(
        self, app: UUID, conversation: UUID, user: str | None = "ada", *, first: UUID | None = None, limit: int = 20
    ) -> tuple[Sequence[Seen], bool]: ...

    async def conversations(
        self,
        app: UUID,
        user: str | None = "ada",
        *,
        sort_by: Any = "-updated_at",
        last: UUID | None = None,
        limit: int = 20,
    ) -> tuple[Sequence[Listed], bool]: ...

    async def rename(self, app: UUID, conversation: UUID, name: str | None, user: str | None = "ada") -> Listed: ...

    async def delete(self, app: UUID, conversation: UUID, user: str | None = "ada") -> None: ...

    async def variables(
        self,
        app: UUID,
        conversation: UUID,
        user: str | None = "ada",
        *,
        name: str | None = None,
        last: UUID | None = None,
        limit: int = 20,
    ) -> tuple[Sequence[Variable], bool]: ...

    async def set_variable(
        self, app: UUID, conversation: UUID, variable: UUID, value: Any, user: str | None = "ada"
    ) -> Variable: ...

    async def rate(
        self,
        app: UUID,
        message: UUID,
        rating: Any,
        *,
        content: str | None = None,
        user: str | None = "ada",
    ) -> None: ...

    async def feedbacks(
        self, app: UUID, *, page: int = 1, limit: int = 20
    ) -> Sequence[tuple[UUID, Rating, str | None]]: ...
