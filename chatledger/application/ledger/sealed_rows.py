"""The sealed columns of the read models: what a person wrote stays sealed there too, under the same keys."""

from typing import Any, TypeVar
from uuid import UUID

import msgspec

from chatledger.application.ports.keys import KeyDestroyedError, Keyring
from chatledger.domain.values import Account, AttachedFile, Json, Resource, Thought

S = TypeVar("S", bound=msgspec.Struct)


class AppName(msgspec.Struct, frozen=True):
    """Of a row of ``apps``, from its creation on."""

    name: str


class AppConfigurationContent(msgspec.Struct, frozen=True):
    """Of a row of ``apps``, as last configured."""

    configuration: dict[str, Json]


class AnnotationContent(msgspec.Struct, frozen=True):
    """Of a row of ``annotations``."""

    question: str
    answer: str


class EndUserContent(msgspec.Struct, frozen=True):
    """Of a row of ``end_users``."""

    external_id: str


class OperatorName(msgspec.Struct, frozen=True):
    """Of a row of ``operator_tokens``."""

    name: str


class HoldContent(msgspec.Struct, frozen=True):
    """Of a row of ``legal_holds``."""

    reason: str


class WebhookUrl(msgspec.Struct, frozen=True):
    """Of a row of ``webhooks``."""

    url: str


class WebhookSecrets(msgspec.Struct, frozen=True):
    """Of a row of ``webhooks``. The previous one signs too, until a time in microseconds since the epoch."""

    secret: str
    previous: str | None = None
    previous_until: int | None = None


class ConversationName(msgspec.Struct, frozen=True):
    """Of a row of ``conversations``, as last renamed."""

    name: str


class ConversationContent(msgspec.Struct, frozen=True):
    """Of a row of ``conversations``, from its start on."""

    inputs: dict[str, Json]
    introduction: str


class VariableContent(msgspec.Struct, frozen=True):
    """Of a row of ``conversation_variables``."""

    name: str
    value: Json
    description: str


class Question(msgspec.Struct, frozen=True):
    """Of a row of ``messages``, from its creation on."""

    query: str
    inputs: dict[str, Json]
    files: tuple[AttachedFile, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """Of a row of ``messages``, from its terminal event on."""

    text: str
    error: str | None
    resources: tuple[Resource, ...]
    thoughts: tuple[Thought, ...] = ()
    files: tuple[AttachedFile, ...] = ()
    account: Account | None = None
    admitted_query: str | None = None


def prompt_of(question: Question, answer: Answer) -> str:
    """What prompts have of a query."""
    return question.query if answer.admitted_query is None else answer.admitted_query


class Suggestions(msgspec.Struct, frozen=True):
    """Of a row of ``messages``, once a model was asked."""

    questions: tuple[str, ...]


class FileContent(msgspec.Struct, frozen=True):
    """Of a row of ``files``."""

    name: str


class FeedbackContent(msgspec.Struct, frozen=True):
    """Of a row of ``feedbacks``."""

    content: str | None


_DECODERS: dict[type[msgspec.Struct], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        AppName,
        AppConfigurationContent,
        AnnotationContent,
        EndUserContent,
        OperatorName,
        HoldContent,
        WebhookUrl,
        WebhookSecrets,
        ConversationName,
        ConversationContent,
        VariableContent,
        Question,
        Answer,
        Suggestions,
        FileContent,
        FeedbackContent,
    )
}
"""Made before there are threads: two that make msgspec look at one type for the first time crash the process."""


class RowSeals:
    """Seals and opens such columns. Blocks where a key has to be fetched."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def seal(self, key_id: UUID | None, content: msgspec.Struct, *place: Any) -> bytes:
        """The column's bytes; the same for the same content at the same place, so that a replay gives equal rows."""
        if key_id is None:
            raise ValueError("sealed content needs a key")
        return self._keyring.key(key_id).seal_row(msgspec.json.encode(content), _place(content, place))

    def open(self, key_id: UUID, kind: type[S], sealed: bytes, *place: Any) -> S:
        """The content of a column.

        Raises:
            KeyDestroyedError: the key that sealed it is gone, and so may be the content.
        """
        if not sealed:
            raise KeyDestroyedError(str(key_id))
        plaintext = self._keyring.key(key_id).open_row(sealed, _place(kind, place))
        content: S = _DECODERS[kind].decode(plaintext)
        return content


def _place(kind: Any, place: tuple[Any, ...]) -> bytes:
    name = kind.__name__ if isinstance(kind, type) else type(kind).__name__
    return "\0".join([name, *map(str, place)]).encode()
