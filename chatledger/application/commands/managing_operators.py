"""Issuing and revoking the tokens of operators."""

from collections.abc import Collection, Iterable, Sequence
from typing import get_args
from uuid import UUID

import msgspec

from chatledger.application.accepting import accept_choice, accept_name
from chatledger.application.audit.reads import ContentReads
from chatledger.application.commands.managing_apps import hash_secret, new_secret
from chatledger.application.context import Context
from chatledger.application.errors import ForbiddenError, InvalidParameterError, NotFoundError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.views import OperatorDetail, Views
from chatledger.domain.operator import CONSOLE_ID, Operator
from chatledger.domain.values import Scope

TOKEN_PREFIX = "op-"  # noqa: S105 - what tokens begin with, not a token


class IssuedToken(msgspec.Struct, frozen=True):
    """A new token. It is shown this once."""

    operator_id: UUID
    token: str


class ManagingOperators:
    """The use case of whoever runs the server."""

    def __init__(self, ledger: Ledger, views: Views, reads: ContentReads, new_id: IdFactory) -> None:
        self._ledger = ledger
        self._reads = reads
        self._views = views
        self._new_id = new_id

    async def issue(
        self,
        name: str,
        scopes: Iterable[Scope],
        context: Context,
        *,
        within: Collection[Scope] | None = None,
        operator_id: UUID | None = None,
    ) -> IssuedToken:
        """Make a token with these scopes, of which there is at least one.

        Args:
            name: whose it is.
            scopes: what it opens.
            context: of the issuing.
            within: what whoever issues it may do, and so give out; None is everything.
            operator_id: of the operator, where several might make the same one at once; else a new one.

        Raises:
            InvalidParameterError: the name or a scope is not acceptable, or there is none.
            ForbiddenError: whoever issues it has not got one of the scopes.
            VersionConflictError: the operator is there already.
        """
        name = accept_name(name)
        scopes = [accept_choice("scopes", scope, get_args(Scope)) for scope in scopes]
        if not scopes:
            raise InvalidParameterError("scopes", "scopes must name at least one")
        if within is not None and (missing := sorted(set(scopes).difference(within))):
            raise ForbiddenError(f"The token needs the scope {missing[0]} to give it out.")
        key = self._ledger.keyring.new_key(None)
        token = new_secret(TOKEN_PREFIX)
        operator = Operator.issue(
            operator_id or self._new_id(), name=name, token_hash=hash_secret(token), scopes=scopes
        )
        await self._ledger.hand_in(Staged(operator, key.key_id), context=context, new_keys=(key,))
        return IssuedToken(operator.id, token)

    async def revoke(self, operator_id: UUID, context: Context) -> None:
        """Let a token open nothing any more, and what is followed with it end. Doing so again changes nothing.

        Raises:
            NotFoundError: there is no such operator.
        """
        if operator_id == CONSOLE_ID:  # who needs no token has none
            raise NotFoundError("operator")
        try:
            await self._ledger.decide(Operator, operator_id, lambda staged: staged.aggregate.revoke(), context)
        except LookupError as error:
            raise NotFoundError("operator") from error
        self._reads.end_for(operator_id)

    async def list(self) -> Sequence[OperatorDetail]:
        """All whose tokens open something, oldest first."""
        return await self._views.operators()
