"""What the events of end users change."""

from collections.abc import Sequence
from typing import assert_never

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.projected.sealing import Sealing, key_erased
from chatledger.application.ledger.sealed_rows import EndUserContent, HoldContent
from chatledger.application.ports.storage import Change, Delete, Insert, Update
from chatledger.domain.events import (
    EndUserErased,
    EndUserEvent,
    EndUserKeyRotated,
    EndUserSeen,
    ErasureRequested,
    LegalHoldPlaced,
    LegalHoldReleased,
)


class EndUserChanges:
    """From an event of a person to the changes that it makes."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    def changes(self, envelope: Envelope, body: EndUserEvent) -> Sequence[Change]:
        """What an event changes."""
        match body:
            case EndUserSeen():
                return self._end_user_seen(envelope, body)
            case LegalHoldPlaced():
                return self._hold_placed(envelope, body)
            case LegalHoldReleased():
                return (Delete("legal_holds", {"hold_id": body.hold_id}),)
            case ErasureRequested():
                return _erasure_requested(envelope, body)
            case EndUserErased():
                values = {"erased_position": envelope.position}
                return (Update("erasures", {"end_user_id": envelope.stream_id}, values), key_erased(envelope))
            case EndUserKeyRotated():
                return ()
            case _:
                assert_never(body)

    def _end_user_seen(self, envelope: Envelope, body: EndUserSeen) -> Sequence[Change]:
        if envelope.is_erased:
            return ()
        row = {
            "end_user_id": envelope.stream_id,
            "app_id": body.app_id,
            "kind": body.kind,
            "lookup": body.lookup,
            "anonymous": body.anonymous,
            "key_id": envelope.key_id,
            "created_at": envelope.recorded_at,
            "content": self._sealing.seal(envelope, EndUserContent(body.external_id), envelope.stream_id),
        }
        return (Insert("end_users", row),)

    def _hold_placed(self, envelope: Envelope, body: LegalHoldPlaced) -> Sequence[Change]:
        if envelope.is_erased:
            return ()
        row = {
            "hold_id": body.hold_id,
            "end_user_id": envelope.stream_id,
            "key_id": envelope.key_id,
            "position": envelope.position,
            "created_at": envelope.recorded_at,
            "content": self._sealing.seal(envelope, HoldContent(body.reason), body.hold_id),
        }
        return (Insert("legal_holds", row),)


def _erasure_requested(envelope: Envelope, body: ErasureRequested) -> Sequence[Change]:
    row = {
        "end_user_id": envelope.stream_id,
        "app_id": body.app_id,
        "key_id": envelope.key_id,
        "requested_position": envelope.position,
        "requested_at": envelope.recorded_at,
    }
    return (Delete("end_users", {"end_user_id": envelope.stream_id}), Insert("erasures", row))
