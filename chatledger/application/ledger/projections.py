"""The inline read models: what each event changes in them, in the event's own transaction."""

from collections.abc import Callable, Sequence
from typing import Protocol, assert_never

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.projected.apps import AppChanges
from chatledger.application.ledger.projected.conversations import ConversationChanges
from chatledger.application.ledger.projected.end_users import EndUserChanges
from chatledger.application.ledger.projected.files import FileChanges
from chatledger.application.ledger.projected.messages import MessageChanges
from chatledger.application.ledger.projected.operators import OperatorChanges, notary_changes
from chatledger.application.ledger.projected.sealing import Sealing
from chatledger.application.ledger.projected.webhooks import WebhookChanges
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ports.storage import Change
from chatledger.domain.events import (
    AppEvent,
    ConversationEvent,
    EndUserEvent,
    FileEvent,
    KeyStoreEvent,
    MessageEvent,
    NotaryEvent,
    OperatorEvent,
    WebhookEvent,
)
from chatledger.domain.message import Message

READ_MODELS_VERSION = 1
"""Raised with every change to a projection or to its table.

On PostgreSQL each version has tables of its own, and releases with different ones run side by side; a file with another
version has to be rebuilt first.
"""

READ_MODELS = (
    "apps",
    "site_codes",
    "annotations",
    "api_keys",
    "operator_tokens",
    "end_users",
    "legal_holds",
    "erasures",
    "erased_keys",
    "conversations",
    "conversation_variables",
    "messages",
    "dead_letters",
    "files",
    "file_references",
    "token_usage",
    "feedbacks",
    "ratings",
    "renamings",
    "later_events",
    "notary_keys",
    "webhooks",
)
"""The tables that a rebuild empties and fills again."""


class InlineProjections(Protocol):
    """The read models that move in the same transaction as the events."""

    def changes(self, envelope: Envelope, folded: Callable[[], Message]) -> Sequence[Change]:
        """What an event changes. ``folded`` gives its message as it stood right after it."""
        ...


class Projections:
    """From one event to the changes that it makes. Pure, but for sealing."""

    def __init__(self, seals: RowSeals) -> None:
        sealing = Sealing(seals)
        self._messages = MessageChanges(sealing)
        self._conversations = ConversationChanges(sealing)
        self._apps = AppChanges(sealing)
        self._end_users = EndUserChanges(sealing)
        self._files = FileChanges(sealing)
        self._operators = OperatorChanges(sealing)
        self._webhooks = WebhookChanges(sealing)

    def changes(  # noqa: PLR0911 - one way for each kind of stream
        self, envelope: Envelope, folded: Callable[[], Message]
    ) -> Sequence[Change]:
        """What an event changes. ``folded`` gives its message as it stood right after it."""
        body = envelope.body
        if isinstance(body, MessageEvent):
            return self._messages.changes(envelope, body, folded)
        if isinstance(body, ConversationEvent):
            return self._conversations.changes(envelope, body)
        if isinstance(body, AppEvent):
            return self._apps.changes(envelope, body)
        if isinstance(body, EndUserEvent):
            return self._end_users.changes(envelope, body)
        if isinstance(body, FileEvent):
            return self._files.changes(envelope, body)
        if isinstance(body, OperatorEvent):
            return self._operators.changes(envelope, body)
        if isinstance(body, NotaryEvent):
            return notary_changes(envelope, body)
        if isinstance(body, WebhookEvent):
            return self._webhooks.changes(envelope, body)
        if isinstance(body, KeyStoreEvent):
            return ()
        assert_never(body)
