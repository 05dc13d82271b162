"""Operators: the tokens of those who look after the ledger over HTTP."""

from collections.abc import Iterable

from chatledger.application.commands.managing_operators import IssuedToken
from chatledger.application.ports.views import OperatorView
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

    async def of_token(self, token: str) -> OperatorView:
        """What a token opens.

        Raises:
            UnauthorizedError: nothing.
        """
        with self._access.use() as application:
            return await application.credentials.operator(token)
