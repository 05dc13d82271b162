"""What the events of conversations change."""

from collections.abc import Sequence
from typing import Any, assert_never

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.projected.files import files_shown
from chatledger.application.ledger.projected.sealing import NOTHING_LEFT, Sealing, key_erased
from chatledger.application.ledger.sealed_rows import ConversationContent, ConversationName, VariableContent
from chatledger.application.ports.storage import Change, Delete, Insert, Update, Upsert
from chatledger.domain.events import (
    ConversationDeleted,
    ConversationErased,
    ConversationEvent,
    ConversationPinned,
    ConversationRenamed,
    ConversationStarted,
    ConversationUnpinned,
    ConversationVariableSet,
)
from chatledger.domain.variables import stored_files

EMPTIED: dict[str, Any] = {
    "question": NOTHING_LEFT,
    "answer": None,
    "suggestions": None,
    "enters_prompts": False,
}
"""What is left of a message's row without its key."""


class ConversationChanges:
    """From an event of a conversation to the changes that it makes."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    def changes(  # noqa: PLR0911 - one case for each event type
        self, envelope: Envelope, body: ConversationEvent
    ) -> Sequence[Change]:
        """What an event changes."""
        match body:
            case ConversationStarted():
                return (self._conversation_started(envelope, body),)
            case ConversationRenamed():
                return self._conversation_renamed(envelope, body)
            case ConversationVariableSet():
                return (self._variable_set(envelope, body), *_files_in_variable(envelope, body))
            case ConversationPinned():
                return (_conversation(envelope, {"is_pinned": True}),)
            case ConversationUnpinned():
                return (_conversation(envelope, {"is_pinned": False}),)
            case ConversationDeleted():
                return _conversation_deleted(envelope)
            case ConversationErased():
                return _conversation_erased(envelope)
            case _:
                assert_never(body)

    def _conversation_started(self, envelope: Envelope, body: ConversationStarted) -> Change:
        content = ConversationContent(body.inputs, body.introduction)
        row = {
            "conversation_id": envelope.stream_id,
            "app_id": body.app_id,
            "end_user_id": body.end_user_id,
            "hidden": body.hidden,
            "key_id": envelope.key_id,
            "created_at": envelope.recorded_at,
            "created_position": envelope.position,
            "updated_at": envelope.recorded_at,
            "updated_position": envelope.position,
            "is_pinned": False,
            "is_to_be_named": body.automatic_name,
            "is_deleted": False,
            "is_erased": False,
            "name": self._sealing.seal(envelope, ConversationName(body.name), envelope.stream_id),
            "content": self._sealing.seal(envelope, content, envelope.stream_id),
        }
        return Insert("conversations", row)

    def _conversation_renamed(self, envelope: Envelope, body: ConversationRenamed) -> Sequence[Change]:
        name = self._sealing.seal(envelope, ConversationName(body.name), envelope.stream_id)
        values: dict[str, Any] = {"name": name, "is_to_be_named": False}
        if body.by != "user":
            return (_conversation(envelope, values),)
        values |= {"updated_at": envelope.recorded_at, "updated_position": envelope.position}
        renaming = {
            "conversation_id": envelope.stream_id,
            "position": envelope.position,
            "end_user_id": body.end_user_id,
        }
        return (_conversation(envelope, values), Insert("renamings", renaming))

    def _variable_set(self, envelope: Envelope, body: ConversationVariableSet) -> Change:
        content = VariableContent(body.name, body.value, body.description)
        values = {
            "content": self._sealing.seal(envelope, content, body.variable_id),
            "updated_at": envelope.recorded_at,
            "updated_position": envelope.position,
        }
        key = {"variable_id": body.variable_id}
        row = (
            key
            | values
            | {
                "conversation_id": envelope.stream_id,
                "key_id": envelope.key_id,
                "value_type": body.value_type,
                "position": envelope.position,
                "created_at": envelope.recorded_at,
            }
        )
        return Upsert("conversation_variables", key, row, values)


def _files_in_variable(envelope: Envelope, body: ConversationVariableSet) -> Sequence[Change]:
    return files_shown(stored_files(body.value_type, body.value), envelope.stream_id)


def _conversation_deleted(envelope: Envelope) -> Sequence[Change]:
    """It is never listed again. The row stays: what was deleted is erased by age and with its person all the same."""
    values = {"is_deleted": True, "hidden": True, "is_pinned": False, "is_to_be_named": False}
    return (
        _conversation(envelope, values),
        Delete("conversation_variables", {"conversation_id": envelope.stream_id}),
    )


def _conversation_erased(envelope: Envelope) -> Sequence[Change]:
    """The rows become what a replay makes of events that nobody can open."""
    key = {"conversation_id": envelope.stream_id}
    return (
        _conversation(
            envelope, {"name": NOTHING_LEFT, "content": NOTHING_LEFT, "is_to_be_named": False, "is_erased": True}
        ),
        Delete("conversation_variables", key),
        Update("messages", key, EMPTIED),
        Update("feedbacks", key, {"content": NOTHING_LEFT}),
        Update("dead_letters", key, {"is_open": False}),
        Delete("file_references", key),
        key_erased(envelope),
    )


def _conversation(envelope: Envelope, values: dict[str, Any]) -> Change:
    return Update("conversations", {"conversation_id": envelope.stream_id}, values)
