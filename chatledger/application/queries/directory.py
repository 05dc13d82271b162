"""The apps that there are."""

from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from uuid import UUID

from chatledger.application.errors import NotFoundError
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.views import AppView, Views

REMEMBERED = 10_000


class AppDirectory:
    """Looks apps up. What it remembers is forgotten as soon as any app changes."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._known: OrderedDict[UUID | str, AppView] = OrderedDict()
        self._changes = 0

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events."""
        if any(envelope.category == "app" for envelope in envelopes):
            self.forget()

    def forget(self) -> None:
        """Look everything up anew: what it was read from has changed."""
        self._known.clear()
        self._changes += 1

    async def app(self, app_id: UUID) -> AppView:
        """One app.

        Raises:
            NotFoundError: there is none with this id.
        """
        found = self._known.get(app_id) or await self._remember(app_id, self._views.app(app_id))
        if found is None:
            raise NotFoundError("app")
        return found

    async def app_of_key(self, key_hash: str) -> AppView | None:
        """The app that a key opens."""
        return self._known.get(key_hash) or await self._remember(key_hash, self._app_of_key(key_hash))

    async def app_of_site(self, code: str) -> AppView | None:
        """The app whose site has this code, or once had it."""
        # Not by the code alone: whoever visits may send as one what is the hash of a key.
        place = f"site {code}"
        return self._known.get(place) or await self._remember(place, self._app_of_site(code))

    async def apps(self) -> list[AppView]:
        """All apps, oldest first."""
        return await self._views.apps()

    async def _app_of_key(self, key_hash: str) -> AppView | None:
        app_id = await self._views.app_of_key(key_hash)
        return await self._views.app(app_id) if app_id else None

    async def _app_of_site(self, code: str) -> AppView | None:
        app_id = await self._views.app_of_site(code)
        return await self._views.app(app_id) if app_id else None

    async def _remember(self, key: UUID | str, looking: Awaitable[AppView | None]) -> AppView | None:
        """What was looked up while an app changed may be of before: it is given, but not remembered."""
        changes = self._changes
        found = await looking
        if found is not None and changes == self._changes:
            self._known[key] = found
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found
