"""An operator's token: who may look after the ledger, and how far."""

from collections.abc import Iterable
from typing import assert_never
from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.events import OperatorEvent, OperatorTokenIssued, OperatorTokenRevoked
from chatledger.domain.values import Scope


class Operator(Aggregate[OperatorEvent]):
    """One token, its scopes, and whether it still opens anything."""

    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.scopes: frozenset[Scope] = frozenset()
        self.is_revoked = False

    @classmethod
    def issue(cls, operator_id: UUID, *, name: str, token_hash: str, scopes: Iterable[Scope]) -> "Operator":
        """Make a token."""
        operator = cls(operator_id)
        operator._record(OperatorTokenIssued(token_hash=token_hash, scopes=tuple(sorted(set(scopes))), name=name))
        return operator

    def revoke(self) -> None:
        """Close the token. Doing so again changes nothing."""
        if not self.is_revoked:
            self._record(OperatorTokenRevoked())

    def apply(self, body: OperatorEvent) -> None:
        """Fold one event into the state."""
        match body:
            case OperatorTokenIssued():
                self.scopes = frozenset(body.scopes)
            case OperatorTokenRevoked():
                self.is_revoked = True
            case _:
                assert_never(body)
