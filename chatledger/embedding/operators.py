"""Operators: the tokens of those who look after the ledger over HTTP."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from chatledger.application.accepting import accept_id
from chatledger.application.commands.managing_operators import IssuedToken
from chatledger.application.ports.views import OperatorDetail, OperatorView
from chatledger.domain.values import Scope
from chatledger.embedding.access import Access


class Operators:
    """``ledger.operators``."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def issue(self, name: str, scopes: Iterable[Scope]) -> IssuedToken:
        """Make a token with these scopes, of which there is at least one.

        Raises:
            InvalidParameterError: the name or a scope is not acceptable, or there is none.
        """
        with self._access.use() as application:
            return await application.operators.issue(name, scopes, self._access.host())

    async def list(self) -> Sequence[OperatorDetail]:
        """All whose tokens open something, oldest first."""
        with self._access.use() as application:
            return await application.operators.list()

    async def revoke(self, operator_id: UUID) -> None:
        """Let a token open nothing any more. Doing so again changes nothing.

        Raises:
            NotFoundError: there is no such operator.
        """
        with self._access.use() as application:
            await application.operators.revoke(accept_id("operator_id", operator_id), self._access.host())

    async def of_token(self, token: str) -> OperatorView:
        """What a token opens.

        Raises:
            UnauthorizedError: nothing.
        """
        with self._access.use() as application:
            return await application.credentials.operator(token)
