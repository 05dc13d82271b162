"""Where a provider is asked, with which key, and what it says when it refuses: no secret of it gets onto the ledger."""

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from chatledger.application.ports.generator import GeneratorError

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_WORDS = 2_000

SILENT = "The provider did not answer in time."
NOT_CONNECTED = "The connection to the provider failed."
BROKEN_OFF = "The provider's stream ended in the middle of the answer."
UNREADABLE = "The provider's answer cannot be read."
_OUR_OWN_VARIABLES = "CHATLEDGER_"


class ProviderAccess:
    """A provider as the server knows it: its address and its key."""

    def __init__(
        self,
        official_url: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Set the server's defaults.

        Args:
            official_url: where the provider itself answers, and nobody without a key.
            base_url: where apps ask that name no other address; the official one by default.
            api_key: the key for it. It is sent to that address's origin only, whatever address an app names.
            environment: where ``api_key_env`` is looked up, at each message.

        Raises:
            ValueError: the address is none.
        """
        self.base_url = official_url if base_url is None else base_url
        check_address(self.base_url)
        self._official_url = official_url
        self._api_key = api_key
        self._environment = environment

    @property
    def is_open(self) -> bool:
        """Whether the server's own address can be asked: there is a key where one is needed."""
        return bool((self._api_key or "").strip()) or origin(self.base_url) != origin(self._official_url)

    def key_for(self, base_url: str, api_key_env: str | None) -> str | None:
        """The key for an address, from the variable that the app names or else the server's; None for no key.

        Raises:
            GeneratorError: there is no key where one is needed, or it could not be sent.
        """
        key = ""
        if api_key_env is not None:
            key = self._environment.get(api_key_env, "").strip()
            if not key:
                message = f"The server's environment variable {api_key_env} (api_key_env) holds no key."
                raise GeneratorError("credentials", message)
        elif self._api_key is not None and origin(base_url) == origin(self.base_url):
            key = self._api_key.strip()
        if not key and origin(base_url) == origin(self._official_url):
            message = "No API key is configured: give the server one, or name its variable in the app's api_key_env."
            raise GeneratorError("credentials", message)
        if not (key.isascii() and key.isprintable()):
            raise GeneratorError("credentials", "The configured API key holds characters that no header can carry.")
        return key or None


def check_access(base_url: str | None, api_key_env: str | None) -> None:
    """Refuse addresses and names that could not work, or that would put a secret on the ledger.

    Raises:
        ValueError: the setting and the reason.
    """
    if base_url is not None:
        check_address(base_url)
    if api_key_env is not None:
        _check_variable(api_key_env)


def check_address(base_url: str) -> None:
    """Refuse what is no address of a provider, or holds more than one.

    Raises:
        ValueError: the reason.
    """
    try:
        parts = urlsplit(base_url)
        port_is_possible = parts.port != 0
    except ValueError as error:
        raise ValueError(f"base_url is no address: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_possible:
        raise ValueError("base_url must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("base_url may hold no user name, password, query or fragment: it stands on the ledger")


def origin(base_url: str) -> tuple[str, str | None, int]:
    """What a browser calls the origin of an address."""
    parts = urlsplit(base_url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def words_of(body: Any, otherwise: str = "") -> str:
    """The reason in the body of a provider's error, however it wraps it; what there is otherwise, where it has none."""
    if isinstance(body, dict):
        inner = (words_of(body.get(key)) for key in ("message", "detail", "error"))
        encoded = msgspec.json.encode(body).decode() if body else ""
        body = next((words for words in inner if words), encoded)
    text = body.strip() if isinstance(body, str) else ""
    text = text or otherwise
    return text if len(text) <= _MAX_WORDS else text[:_MAX_WORDS] + "…"


def storable(text: str) -> str:
    """The text, with its halves of characters put together, and those that have no other half replaced."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _check_variable(name: str) -> None:
    if not _ENVIRONMENT_NAME.fullmatch(name):
        raise ValueError("api_key_env must be the name of an environment variable, not the key")
    if name.upper().startswith(_OUR_OWN_VARIABLES):
        raise ValueError(f"api_key_env may not name a variable of the server's own ({_OUR_OWN_VARIABLES}...)")
