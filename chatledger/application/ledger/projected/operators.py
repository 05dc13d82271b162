"""What the events of operators and of the notary change."""

from collections.abc import Sequence
from typing import assert_never

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.storage import Change, Delete, Insert
from chatledger.domain.events import ContentRead, NotaryEvent, OperatorEvent, OperatorTokenIssued, OperatorTokenRevoked


def operator_changes(envelope: Envelope, body: OperatorEvent) -> Sequence[Change]:
    """What an event of an operator changes."""
    match body:
        case OperatorTokenIssued():
            token = {
                "token_hash": body.token_hash,
                "operator_id": envelope.stream_id,
                "scopes": ",".join(body.scopes),
            }
            return (Insert("operator_tokens", token),)
        case OperatorTokenRevoked():
            return (Delete("operator_tokens", {"operator_id": envelope.stream_id}),)
        case ContentRead():
            return ()
        case _:
            assert_never(body)


def notary_changes(envelope: Envelope, body: NotaryEvent) -> Sequence[Change]:
    """What an event of the notary changes."""
    return (Insert("notary_keys", {"position": envelope.position, "verifier_key": body.verifier_key}),)
