"""An app: one chat application of one customer, with its configuration and its keys."""

from typing import assert_never
from uuid import UUID

import msgspec

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.annotation import MAX_ANNOTATIONS
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.errors import AppDeletedError, InvalidInputError, NoSuchAnnotationError, TooManyAnnotationsError
from chatledger.domain.events import (
    AnnotationAdded,
    AnnotationChanged,
    AnnotationRemoved,
    ApiKeyIssued,
    ApiKeyRevoked,
    AppConfigured,
    AppCreated,
    AppDeleted,
    AppDisabled,
    AppEnabled,
    AppEvent,
    RetentionSet,
    SiteCodeIssued,
)
from chatledger.domain.inputs import validate_form
from chatledger.domain.prices import validate_prices
from chatledger.domain.values import AppMode, AppStatus
from chatledger.domain.variables import validate_variables

LONGEST_RETENTION = 36_500
"""Days: a hundred years."""


def validate_configuration(configuration: AppConfiguration, mode: AppMode) -> None:
    """Refuse a configuration that contradicts itself, or that means nothing in an app of that mode.

    Raises:
        InvalidInputError: the form or the variables do, a price is none, or completions were to take turns; its
            ``field`` names which.
    """
    if mode == "completion" and configuration.on_busy != "allow":
        raise InvalidInputError("on_busy", "on_busy is not for completions: none of them meets another")
    validate_form(configuration.user_input_form)
    validate_prices(configuration.prices)
    validate_variables(configuration.conversation_variables)


class App(Aggregate[AppEvent]):
    """A mode for life, a configuration, any number of keys, a code of its site, and annotations.

    Attributes:
        annotations: the question and the answer of each.
        retention_days: how long conversations may rest before they are erased; None for ever.
    """

    mode: AppMode
    name: str

    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.configuration = AppConfiguration(generator="")
        self.status: AppStatus = "normal"
        self.key_ids: dict[UUID, str] = {}
        self.site_code: str | None = None
        self.annotations: dict[UUID, tuple[str, str]] = {}
        self.retention_days: int | None = None

    @classmethod
    def create(cls, app_id: UUID, *, mode: AppMode, name: str, configuration: AppConfiguration) -> "App":
        """Set an app up.

        Raises:
            InvalidInputError: the configuration contradicts itself.
        """
        app = cls(app_id)
        app._record(AppCreated(mode=mode, name=name))
        app.configure(configuration)
        return app

    def configure(self, configuration: AppConfiguration) -> None:
        """Replace the configuration; the same one again is no fact.

        Raises:
            InvalidInputError: the configuration contradicts itself.
            AppDeletedError: it is gone.
        """
        self._require_living()
        validate_configuration(configuration, self.mode)
        if configuration != self.configuration:
            self._record(AppConfigured(configuration=msgspec.json.decode(msgspec.json.encode(configuration))))

    def issue_key(self, key_id: UUID, key_hash: str) -> None:
        """Add a key that opens the app.

        Raises:
            AppDeletedError: it is gone.
        """
        self._require_living()
        self._record(ApiKeyIssued(key_id=key_id, key_hash=key_hash))

    def rotate_key(self, key_id: UUID, key_hash: str) -> None:
        """Add a key and revoke all earlier ones.

        Raises:
            AppDeletedError: it is gone.
        """
        earlier = tuple(self.key_ids)
        self.issue_key(key_id, key_hash)
        for old in earlier:
            self._record(ApiKeyRevoked(key_id=old))

    def issue_site_code(self, code: str) -> None:
        """Let the site answer under this code, and under no earlier one.

        Raises:
            AppDeletedError: it is gone.
        """
        self._require_living()
        self._record(SiteCodeIssued(code))

    def disable(self) -> None:
        """Answer nobody. Doing so again changes nothing.

        Raises:
            AppDeletedError: it is gone.
        """
        self._require_living()
        if self.status == "normal":
            self._record(AppDisabled())

    def enable(self) -> None:
        """Answer again. Doing so again changes nothing.

        Raises:
            AppDeletedError: it is gone.
        """
        self._require_living()
        if self.status == "disabled":
            self._record(AppEnabled())

    def delete(self) -> None:
        """Be gone for good.

        Raises:
            AppDeletedError: it is gone already.
        """
        self._require_living()
        self._record(AppDeleted())

    def add_annotation(self, annotation_id: UUID, question: str, answer: str) -> None:
        """Answer questions like this one so.

        Raises:
            AppDeletedError: it is gone.
            TooManyAnnotationsError: it has as many as it may have.
        """
        self._require_living()
        if len(self.annotations) >= MAX_ANNOTATIONS:
            raise TooManyAnnotationsError
        self._record(AnnotationAdded(annotation_id=annotation_id, question=question, answer=answer))

    def change_annotation(self, annotation_id: UUID, question: str, answer: str) -> None:
        """Give an annotation another question or answer; the same ones again are no fact.

        Raises:
            AppDeletedError: it is gone.
            NoSuchAnnotationError: there is no such annotation.
        """
        self._require_annotation(annotation_id)
        if self.annotations[annotation_id] != (question, answer):
            self._record(AnnotationChanged(annotation_id=annotation_id, question=question, answer=answer))

    def remove_annotation(self, annotation_id: UUID) -> None:
        """Let an annotation answer nothing any more.

        Raises:
            AppDeletedError: it is gone.
            NoSuchAnnotationError: there is no such annotation.
        """
        self._require_annotation(annotation_id)
        self._record(AnnotationRemoved(annotation_id))

    def set_retention(self, days: int | None) -> None:
        """Have conversations erased once they have rested for so many days, or keep them; the same again is no fact.

        Raises:
            AppDeletedError: it is gone.
            InvalidInputError: it is no number of days.
        """
        self._require_living()
        if days is not None and not 1 <= days <= LONGEST_RETENTION:
            raise InvalidInputError("retention_days", f"retention_days must be 1 to {LONGEST_RETENTION}, or null")
        if days != self.retention_days:
            self._record(RetentionSet(days=days))

    def _require_annotation(self, annotation_id: UUID) -> None:
        self._require_living()
        if annotation_id not in self.annotations:
            raise NoSuchAnnotationError

    def _require_living(self) -> None:
        if self.status == "deleted":
            raise AppDeletedError

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
            case SiteCodeIssued():
                self.site_code = body.code
            case AppDisabled():
                self.status = "disabled"
            case AppEnabled():
                self.status = "normal"
            case AppDeleted():
                self.status = "deleted"
            case AnnotationAdded() | AnnotationChanged():
                self.annotations[body.annotation_id] = (body.question, body.answer)
            case AnnotationRemoved():
                del self.annotations[body.annotation_id]
            case RetentionSet():
                self.retention_days = body.days
            case _:
                assert_never(body)
