"""What the events of apps change."""

from collections.abc import Sequence
from typing import Any, assert_never

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.projected.sealing import Sealing
from chatledger.application.ledger.sealed_rows import AnnotationContent, AppConfigurationContent, AppName
from chatledger.application.ports.storage import Change, Delete, Insert, Update
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


class AppChanges:
    """From an event of an app to the changes that it makes."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    def changes(  # noqa: PLR0911, PLR0912 - one case for each event type
        self, envelope: Envelope, body: AppEvent
    ) -> Sequence[Change]:
        """What an event changes."""
        match body:
            case AppCreated():
                return (self._app_created(envelope, body),)
            case AppConfigured():
                return (self._app_configured(envelope, body),)
            case ApiKeyIssued():
                row = {"key_hash": body.key_hash, "key_id": body.key_id, "app_id": envelope.stream_id}
                return (Insert("api_keys", row),)
            case ApiKeyRevoked():
                return (Delete("api_keys", {"key_id": body.key_id}),)
            case SiteCodeIssued():
                return _site_code_issued(envelope, body)
            case AppDisabled():
                return (_app(envelope, {"status": "disabled"}),)
            case AppEnabled():
                return (_app(envelope, {"status": "normal"}),)
            case AppDeleted():
                return (_app(envelope, {"status": "deleted"}),)
            case RetentionSet():
                return (_app(envelope, {"retention_days": body.days}),)
            case AnnotationAdded():
                return (self._annotation_added(envelope, body),)
            case AnnotationChanged():
                values = {"content": self._annotation(envelope, body), "updated_at": envelope.recorded_at}
                return (Update("annotations", {"annotation_id": body.annotation_id}, values),)
            case AnnotationRemoved():
                return (Delete("annotations", {"annotation_id": body.annotation_id}),)
            case _:
                assert_never(body)

    def _app_created(self, envelope: Envelope, body: AppCreated) -> Change:
        row = {
            "app_id": envelope.stream_id,
            "mode": body.mode,
            "key_id": envelope.key_id,
            "position": envelope.position,
            "created_at": envelope.recorded_at,
            "status": "normal",
            "name": self._sealing.seal(envelope, AppName(body.name), envelope.stream_id),
        }
        return Insert("apps", row)

    def _app_configured(self, envelope: Envelope, body: AppConfigured) -> Change:
        content = self._sealing.seal(envelope, AppConfigurationContent(body.configuration), envelope.stream_id)
        return _app(envelope, {"configuration": content})

    def _annotation_added(self, envelope: Envelope, body: AnnotationAdded) -> Change:
        row = {
            "annotation_id": body.annotation_id,
            "app_id": envelope.stream_id,
            "key_id": envelope.key_id,
            "position": envelope.position,
            "created_at": envelope.recorded_at,
            "updated_at": envelope.recorded_at,
            "content": self._annotation(envelope, body),
        }
        return Insert("annotations", row)

    def _annotation(self, envelope: Envelope, body: AnnotationAdded | AnnotationChanged) -> bytes:
        return self._sealing.seal(envelope, AnnotationContent(body.question, body.answer), body.annotation_id)


def _site_code_issued(envelope: Envelope, body: SiteCodeIssued) -> Sequence[Change]:
    return (
        Insert("site_codes", {"code": body.code, "app_id": envelope.stream_id}),
        _app(envelope, {"site_code": body.code}),
    )


def _app(envelope: Envelope, values: dict[str, Any]) -> Change:
    return Update("apps", {"app_id": envelope.stream_id}, values)
