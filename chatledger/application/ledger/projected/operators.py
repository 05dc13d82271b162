"""What the events of operators and of the notary change."""

from collections.abc import Sequence
from typing import assert_never

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.projected.sealing import Sealing
from chatledger.application.ledger.sealed_rows import OperatorName
from chatledger.application.ports.storage import Change, Delete, Insert
from chatledger.domain.events import ContentRead, NotaryEvent, OperatorEvent, OperatorTokenIssued, OperatorTokenRevoked


class OperatorChanges:
    """From an event of an operator to the changes that it makes."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    def changes(self, envelope: Envelope, body: OperatorEvent) -> Sequence[Change]:
        """What an event changes."""
        match body:
            case OperatorTokenIssued():
                return (self._token_issued(envelope, body),)
            case OperatorTokenRevoked():
                return (Delete("operator_tokens", {"operator_id": envelope.stream_id}),)
            case ContentRead():
                return ()
            case _:
                assert_never(body)

    def _token_issued(self, envelope: Envelope, body: OperatorTokenIssued) -> Change:
        row = {
            "token_hash": body.token_hash,
            "operator_id": envelope.stream_id,
            "key_id": envelope.key_id,
            "position": envelope.position,
            "created_at": envelope.recorded_at,
            "scopes": ",".join(body.scopes),
            "content": self._sealing.seal(envelope, OperatorName(body.name), envelope.stream_id),
        }
        return Insert("operator_tokens", row)


def notary_changes(envelope: Envelope, body: NotaryEvent) -> Sequence[Change]:
    """What an event of the notary changes."""
    return (Insert("notary_keys", {"position": envelope.position, "verifier_key": body.verifier_key}),)
