"""What a credential opens."""

from collections import OrderedDict
from collections.abc import Sequence

from chatledger.application.commands.managing_apps import KEY_PREFIX, hash_secret
from chatledger.application.commands.managing_operators import TOKEN_PREFIX
from chatledger.application.errors import UnauthorizedError
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.views import AppView, OperatorView, Views

CACHED_KEYS = 10_000


class Credentials:
    """Looks credentials up. What it remembers is forgotten as soon as any app or operator changes."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._apps: OrderedDict[str, AppView] = OrderedDict()
        self._changes = 0

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events."""
        if any(envelope.category == "app" for envelope in envelopes):
            self._apps.clear()
            self._changes += 1

    async def app(self, api_key: str) -> AppView:
        """The app that a key opens.

        Raises:
            UnauthorizedError: it opens none.
        """
        if not api_key.startswith(KEY_PREFIX):
            raise UnauthorizedError
        key_hash = hash_secret(api_key)
        known = self._apps.get(key_hash)
        if known is not None:
            return known
        changes = self._changes
        app_id = await self._views.app_of_key(key_hash)
        found = await self._views.app(app_id) if app_id else None
        if found is None:
            raise UnauthorizedError
        if changes == self._changes:
            self._apps[key_hash] = found
            if len(self._apps) > CACHED_KEYS:
                self._apps.popitem(last=False)
        return found

    async def operator(self, token: str) -> OperatorView:
        """What an operator's token opens.

        Raises:
            UnauthorizedError: nothing.
        """
        found = await self._views.operator_of_token(hash_secret(token)) if token.startswith(TOKEN_PREFIX) else None
        if found is None:
            raise UnauthorizedError
        return found
