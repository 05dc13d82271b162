"""Letting the anonymous visitors of an app's site in."""

from uuid import UUID

from chatledger.application.caller import EndUsers
from chatledger.application.context import Actor, Context
from chatledger.application.errors import NotFoundError, SiteClosedError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.views import AppView
from chatledger.application.queries.directory import AppDirectory
from chatledger.domain.end_user import EndUser


class Visiting:
    """A visitor is an end user whom nobody has named: their external id is their own."""

    def __init__(self, ledger: Ledger, directory: AppDirectory, end_users: EndUsers, new_id: IdFactory) -> None:
        self._ledger = ledger
        self._directory = directory
        self._end_users = end_users
        self._new_id = new_id

    async def app_of_site(self, code: str) -> AppView:
        """The app whose site is open under this code.

        Raises:
            NotFoundError: no app ever had the code, or the app answers nobody any more.
            SiteClosedError: the site has got another code, or is switched off.
        """
        app = await self._directory.app_of_site(code)
        if app is None or app.status != "normal":
            raise NotFoundError("site")
        if app.site_code != code:
            raise SiteClosedError("Site URL is no longer valid.")
        if not app.configuration.site.enabled:
            raise SiteClosedError("Site is disabled.")
        return app

    async def begin(self, app: AppView, correlation_id: UUID) -> UUID:
        """A visitor whom the app has not seen before."""
        visitor_id = self._new_id()
        external_id = str(visitor_id)
        key = self._ledger.keyring.new_key(None)
        seen = EndUser.see(
            visitor_id,
            app_id=app.app_id,
            kind="browser",
            external_id=external_id,
            lookup=self._end_users.lookup(app.app_id, "browser", external_id),
        )
        actor = Actor("end_user", external_id)
        context = Context(actor=actor, correlation_id=correlation_id, app_id=app.app_id)
        await self._ledger.hand_in(Staged(seen, key.key_id), context=context, new_keys=(key,))
        return visitor_id

    async def knows(self, app: AppView, visitor_id: UUID) -> bool:
        """Whether this is a visitor of the app."""
        return await self._end_users.find(app.app_id, "browser", str(visitor_id)) is not None
