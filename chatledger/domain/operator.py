"""An operator's token: who may look after the ledger, and how far."""

from collections.abc import Iterable
from typing import assert_never
from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.events import ContentRead, OperatorEvent, OperatorTokenIssued, OperatorTokenRevoked
from chatledger.domain.values import ReadSubject, Scope

CONSOLE_ID = UUID("0198a000-0000-7000-8000-00000000c0de")
"""Whoever runs the process: an operator who needs no token."""


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

    def record_read(self, subject: ReadSubject, subject_id: UUID | None) -> None:
        """Put on record that they read what other people wrote or were answered."""
        self._record(ContentRead(subject=subject, subject_id=subject_id))

    def apply(self, body: OperatorEvent) -> None:
        """Fold one event into the state."""
        match body:
            case OperatorTokenIssued():
                self.scopes = frozenset(body.scopes)
            case OperatorTokenRevoked():
                self.is_revoked = True
            case ContentRead():
                pass
            case _:
                assert_never(body)
