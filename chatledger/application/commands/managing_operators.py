"""Issuing the tokens of operators."""

from collections.abc import Iterable
from typing import get_args
from uuid import UUID

import msgspec

from chatledger.application.accepting import accept_choice, accept_name
from chatledger.application.commands.managing_apps import hash_secret, new_secret
from chatledger.application.context import Context
from chatledger.application.errors import InvalidParameterError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import IdFactory
from chatledger.domain.operator import Operator
from chatledger.domain.values import Scope

TOKEN_PREFIX = "op-"  # noqa: S105 - what tokens begin with, not a token


class IssuedToken(msgspec.Struct, frozen=True):
    """A new token. It is shown this once."""

    operator_id: UUID
    token: str


class ManagingOperators:
    """The use case of whoever runs the server."""

    def __init__(self, ledger: Ledger, new_id: IdFactory) -> None:
        self._ledger = ledger
        self._new_id = new_id

    async def issue(self, name: str, scopes: Iterable[Scope], context: Context) -> IssuedToken:
        """Make a token with these scopes, of which there is at least one.

        Raises:
            InvalidParameterError: the name or a scope is not acceptable, or there is none.
        """
        name = accept_name(name)
        scopes = [accept_choice("scopes", scope, get_args(Scope)) for scope in scopes]
        if not scopes:
            raise InvalidParameterError("scopes", "scopes must name at least one")
        key = self._ledger.keyring.new_key(None)
        token = new_secret(TOKEN_PREFIX)
        operator = Operator.issue(self._new_id(), name=name, token_hash=hash_secret(token), scopes=scopes)
        await self._ledger.hand_in(Staged(operator, key.key_id), context=context, new_keys=(key,))
        return IssuedToken(operator.id, token)
