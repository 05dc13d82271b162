"""Apps: setting them up, configuring them, their keys and their ratings."""

from collections.abc import Sequence
from uuid import UUID

from chatledger.application.accepting import DEFAULT_PAGE, accept_id
from chatledger.application.as_of import AsOf
from chatledger.application.commands.managing_apps import CreatedApp
from chatledger.application.periods import Moment, accept_period
from chatledger.application.ports.views import AppView, EndUserDetail, FeedbackView
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.values import AppMode
from chatledger.embedding.access import Access


class Apps:
    """``ledger.apps``."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def create(self, mode: AppMode, name: str, configuration: AppConfiguration) -> CreatedApp:
        """Set up an app. Its key is for those who come over HTTP, where the same store is served one day.

        Raises:
            InvalidParameterError: the mode, the name or the configuration is not acceptable.
        """
        with self._access.use() as application:
            return await application.apps.create(mode, name, configuration, self._access.host())

    async def configure(self, app: UUID, configuration: AppConfiguration) -> None:
        """Replace an app's configuration, from the next message on.

        Raises:
            InvalidParameterError: the configuration is not acceptable.
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        with self._access.use() as application:
            await application.apps.configure(accept_id("app", app), configuration, self._access.host())

    async def rotate_key(self, app: UUID) -> str:
        """A new key; all earlier ones open nothing from here on.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        with self._access.use() as application:
            return await application.apps.rotate_key(accept_id("app", app), self._access.host())

    async def renew_site(self, app: UUID) -> str:
        """A new code of the app's site; under the earlier ones no visitor gets in from here on.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        with self._access.use() as application:
            return await application.apps.renew_site(accept_id("app", app), self._access.host())

    async def set_retention(self, app: UUID, days: int | None) -> None:
        """Have conversations erased once nothing has happened in them for so many days; None keeps them for ever.

        Raises:
            InvalidParameterError: it is no number of days.
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        with self._access.use() as application:
            await application.apps.set_retention(accept_id("app", app), days, self._access.host())

    async def disable(self, app: UUID) -> None:
        """Let the app answer nobody, here and over HTTP, until it is enabled. Doing so again changes nothing.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        with self._access.use() as application:
            await application.apps.disable(accept_id("app", app), self._access.host())

    async def enable(self, app: UUID) -> None:
        """Let the app answer again. Doing so again changes nothing.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        with self._access.use() as application:
            await application.apps.enable(accept_id("app", app), self._access.host())

    async def delete(self, app: UUID) -> None:
        """Let the app be gone for good. What was said in it stays on the ledger, where the host can read it.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted already.
        """
        with self._access.use() as application:
            await application.apps.delete(accept_id("app", app), self._access.host())

    async def get(self, app: UUID) -> AppView:
        """One app with its configuration.

        Raises:
            NotFoundError: there is no such app.
        """
        with self._access.use() as application:
            return await application.directory.app(accept_id("app", app))

    async def of_key(self, api_key: str) -> AppView:
        """The app that a key opens.

        Raises:
            UnauthorizedError: it opens none.
            ForbiddenError: the app is switched off, or gone.
        """
        with self._access.use() as application:
            return await application.credentials.app(api_key)

    async def list(self) -> Sequence[AppView]:
        """All apps, oldest first."""
        with self._access.use() as application:
            return await application.directory.apps()

    async def feedbacks(
        self,
        app: UUID,
        *,
        page: int = 1,
        limit: int = DEFAULT_PAGE,
        start: Moment | None = None,
        end: Moment | None = None,
        as_of: AsOf | None = None,
    ) -> Sequence[FeedbackView]:
        """One page of the ratings that an app's messages got from ``start`` on and before ``end``, newest first.

        Pages count from 1. A day counts whole, as either end. ``as_of`` a position or a time gives those that stood
        then.

        Raises:
            InvalidParameterError: there is no page of that number, a page is not that long, that is no period, or
                ``as_of`` is no moment of the past.
            NotFoundError: there is no such app.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, None)
            return await application.feedbacks.page(caller, page, limit, accept_period(start, end), as_of)

    async def end_user(self, app: UUID, end_user: UUID) -> EndUserDetail:
        """One of an app's people, by their own id.

        Raises:
            NotFoundError: there is no such app, or it has no such person.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, None)
            return await application.end_users.detail(caller, accept_id("end_user", end_user))
