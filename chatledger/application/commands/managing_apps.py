"""Setting up apps, their configuration and their keys."""

import hashlib
import secrets
import string
from collections.abc import Callable, Mapping
from typing import get_args
from uuid import UUID

import msgspec

from chatledger.application.accepting import accept_choice, accept_name, accept_number
from chatledger.application.context import Context
from chatledger.application.errors import APP_IS_GONE, ForbiddenError, InvalidParameterError, NotFoundError
from chatledger.application.features import Features
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.generator import Generator, SettingsError
from chatledger.domain.app import LONGEST_RETENTION, App, validate_configuration
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.errors import AppDeletedError, InvalidInputError
from chatledger.domain.values import AppMode

KEY_PREFIX = "app-"
KEY_CHARACTERS = 24
SITE_CODE_CHARACTERS = 16


def new_secret(prefix: str, characters: int = KEY_CHARACTERS) -> str:
    """A random credential: the prefix, and so many letters and digits."""
    alphabet = string.ascii_letters + string.digits
    return prefix + "".join(secrets.choice(alphabet) for _ in range(characters))


def new_site_code() -> str:
    """What names an app's site in its address: whoever knows it may visit, so it is not to be guessed."""
    return new_secret("", SITE_CODE_CHARACTERS)


def hash_secret(secret: str) -> str:
    """What the ledger knows of a credential (SHA-256 in hex: 24 random characters need no slow hash)."""
    return hashlib.sha256(secret.encode()).hexdigest()


class CreatedApp(msgspec.Struct, frozen=True):
    """A new app. The key is shown this once."""

    app_id: UUID
    api_key: str
    mode: AppMode
    site_code: str


class ManagingApps:
    """The use cases of whoever runs the server."""

    def __init__(
        self, ledger: Ledger, generators: Mapping[str, Generator], features: Features, new_id: IdFactory
    ) -> None:
        self._ledger = ledger
        self._generators = generators
        self._features = features
        self._new_id = new_id

    async def create(self, mode: AppMode, name: str, configuration: AppConfiguration, context: Context) -> CreatedApp:
        """Set up an app with one key and a code of its site.

        Raises:
            InvalidParameterError: the mode, the name or the configuration is not acceptable.
        """
        mode, name = accept_choice("mode", mode, get_args(AppMode)), accept_name(name)
        self._check(configuration, mode)
        key = self._ledger.keyring.new_key(None)
        secret, site_code = new_secret(KEY_PREFIX), new_site_code()
        app = App.create(self._new_id(), mode=mode, name=name, configuration=configuration)
        app.issue_key(self._new_id(), hash_secret(secret))
        app.issue_site_code(site_code)
        await self._ledger.hand_in(Staged(app, key.key_id), context=context, new_keys=(key,))
        return CreatedApp(app.id, secret, mode, site_code)

    async def configure(self, app_id: UUID, configuration: AppConfiguration, context: Context) -> None:
        """Replace an app's configuration.

        Raises:
            InvalidParameterError: the configuration is not acceptable.
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        await self.reconfigure(app_id, lambda _: configuration, context)

    async def reconfigure(
        self, app_id: UUID, change: Callable[[AppConfiguration], AppConfiguration], context: Context
    ) -> AppConfiguration:
        """Make another configuration of the one that an app has, and no change of anybody else's is lost.

        Args:
            app_id: whose.
            change: gives the new configuration; it is called again where another change came first.
            context: of the change.

        Raises:
            InvalidParameterError: the configuration is not acceptable.
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        changed: list[AppConfiguration] = []

        def decide(staged: Staged[App]) -> None:
            configuration = change(staged.aggregate.configuration)
            self._check(configuration, staged.aggregate.mode)
            staged.aggregate.configure(configuration)
            changed.append(configuration)

        await self._decide(app_id, decide, context)
        return changed[-1]

    async def rotate_key(self, app_id: UUID, context: Context) -> str:
        """A new key; all earlier ones open nothing from here on.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        secret = new_secret(KEY_PREFIX)
        await self._decide(
            app_id, lambda staged: staged.aggregate.rotate_key(self._new_id(), hash_secret(secret)), context
        )
        return secret

    async def renew_site(self, app_id: UUID, context: Context) -> str:
        """A new code of the app's site; under the earlier ones nobody gets in from here on.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        code = new_site_code()
        await self._decide(app_id, lambda staged: staged.aggregate.issue_site_code(code), context)
        return code

    async def set_retention(self, app_id: UUID, days: int | None, context: Context) -> None:
        """Have conversations erased once they have rested for so many days; None keeps them for ever.

        Raises:
            InvalidParameterError: it is no number of days.
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        if days is not None:
            accept_number("retention_days", days, 1, LONGEST_RETENTION)
        await self._decide(app_id, lambda staged: staged.aggregate.set_retention(days), context)

    async def disable(self, app_id: UUID, context: Context) -> None:
        """Let the app answer nobody, until it is enabled. Doing so again changes nothing.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        await self._decide(app_id, lambda staged: staged.aggregate.disable(), context)

    async def enable(self, app_id: UUID, context: Context) -> None:
        """Let the app answer again. Doing so again changes nothing.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted.
        """
        await self._decide(app_id, lambda staged: staged.aggregate.enable(), context)

    async def delete(self, app_id: UUID, context: Context) -> None:
        """Let the app be gone for good. What was said in it stays on the ledger.

        Raises:
            NotFoundError: there is no such app.
            ForbiddenError: it is deleted already.
        """
        await self._decide(app_id, lambda staged: staged.aggregate.delete(), context)

    async def _decide(self, app_id: UUID, command: Callable[[Staged[App]], None], context: Context) -> None:
        try:
            await self._ledger.decide(App, app_id, command, context)
        except LookupError as error:
            raise NotFoundError("app") from error
        except AppDeletedError as error:
            raise ForbiddenError(APP_IS_GONE) from error

    def _check(self, configuration: AppConfiguration, mode: AppMode) -> None:
        if not isinstance(configuration, AppConfiguration):
            raise InvalidParameterError("configuration", "configuration must be an AppConfiguration")
        try:
            msgspec.json.decode(msgspec.json.encode(configuration), type=AppConfiguration)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise InvalidParameterError("configuration", f"the configuration cannot be stored: {error}") from error
        generator = self._generators.get(configuration.generator)
        if generator is None:
            known = ", ".join(sorted(self._generators))
            raise InvalidParameterError(
                "generator", f"no generator named {configuration.generator!r}; there are {known}"
            )
        try:
            generator.check_settings(configuration.settings)
            validate_configuration(configuration, mode)
        except SettingsError as error:
            raise InvalidParameterError("settings", str(error)) from error
        except InvalidInputError as error:
            raise InvalidParameterError(error.field, str(error)) from error
        self._features.check(configuration)
