"""An app: one chat application of one customer, with its configuration and its keys."""

from typing import Any, assert_never
from uuid import UUID

import msgspec

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.events import ApiKeyIssued, ApiKeyRevoked, AppConfigured, AppCreated, AppEvent
from chatledger.domain.inputs import InputVariable, validate_form
from chatledger.domain.values import AppMode


class AppConfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator sets about an app.

    Attributes:
        generator: the name of the generator that answers.
        settings: that generator's own settings, checked by it.
        opening_statement: what a new conversation shows before the first question.
        user_input_form: the variables that a message must or may carry.
        retriever_resource: whether answers show the passages that they rest on.
    """

    generator: str
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    description: str = ""
    tags: tuple[str, ...] = ()
    author_name: str = ""
    opening_statement: str = ""
    user_input_form: tuple[InputVariable, ...] = ()
    retriever_resource: bool = True


class App(Aggregate[AppEvent]):
    """A mode for life, a configuration, and any number of keys."""

    mode: AppMode
    name: str

    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.configuration = AppConfiguration(generator="")
        self.key_ids: dict[UUID, str] = {}

    @classmethod
    def create(cls, app_id: UUID, *, mode: AppMode, name: str, configuration: AppConfiguration) -> "App":
        """Set an app up.

        Raises:
            InvalidInputError: the input form contradicts itself.
        """
        app = cls(app_id)
        app._record(AppCreated(mode=mode, name=name))
        app.configure(configuration)
        return app

    def configure(self, configuration: AppConfiguration) -> None:
        """Replace the configuration; the same one again is no fact.

        Raises:
            InvalidInputError: the input form contradicts itself.
        """
        validate_form(configuration.user_input_form)
        if configuration != self.configuration:
            self._record(AppConfigured(configuration=msgspec.json.decode(msgspec.json.encode(configuration))))

    def issue_key(self, key_id: UUID, key_hash: str) -> None:
        """Add a key that opens the app."""
        self._record(ApiKeyIssued(key_id=key_id, key_hash=key_hash))

    def rotate_key(self, key_id: UUID, key_hash: str) -> None:
        """Add a key and revoke all earlier ones."""
        earlier = tuple(self.key_ids)
        self.issue_key(key_id, key_hash)
        for old in earlier:
            self._record(ApiKeyRevoked(key_id=old))

    def apply(self, body: AppEvent) -> None:
        """Fold one event into the state."""
        match body:
            case AppCreated():
                self.mode = body.mode
                self.name = body.name
            case AppConfigured():
                self.configuration = msgspec.convert(body.configuration, AppConfiguration)
            case ApiKeyIssued():
                self.key_ids[body.key_id] = body.key_hash
            case ApiKeyRevoked():
                del self.key_ids[body.key_id]
            case _:
                assert_never(body)
