"""What a credential opens."""

from chatledger.application.commands.managing_apps import KEY_PREFIX, hash_secret
from chatledger.application.commands.managing_operators import TOKEN_PREFIX
from chatledger.application.errors import APP_IS_DISABLED, APP_IS_GONE, ForbiddenError, UnauthorizedError
from chatledger.application.ports.views import AppView, OperatorView, Views
from chatledger.application.queries.directory import AppDirectory


def require_answering(app: AppView) -> None:
    """Let only apps pass that answer their callers.

    Raises:
        ForbiddenError: the app is switched off, or gone.
    """
    match app.status:
        case "deleted":
            raise ForbiddenError(APP_IS_GONE)
        case "disabled":
            raise ForbiddenError(APP_IS_DISABLED)


class Credentials:
    """Looks credentials up."""

    def __init__(self, views: Views, directory: AppDirectory) -> None:
        self._views = views
        self._directory = directory

    async def app(self, api_key: str) -> AppView:
        """The app that a key opens.

        Raises:
            UnauthorizedError: it opens none.
            ForbiddenError: the app is switched off, or gone.
        """
        found = await self._directory.app_of_key(hash_secret(api_key)) if api_key.startswith(KEY_PREFIX) else None
        if found is None:
            raise UnauthorizedError
        require_answering(found)
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
