"""What every adapter to OpenAI's protocol needs: the official SDK's clients, and what their errors mean."""

import asyncio
import importlib.util
import math
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from chatledger.adapters.provider_access import NOT_CONNECTED, SILENT, UNREADABLE, ProviderAccess, origin, words_of
from chatledger.application.ports.generator import GeneratorError, GeneratorErrorKind
from chatledger.application.waiting import read_retry_after

if TYPE_CHECKING:
    import openai

    Headers = Mapping[str, str | openai.Omit]

DEFAULT_BASE_URL = "https://api.openai.com/v1"

_MAX_CLIENTS = 64
_QUOTA_CODES = frozenset(("insufficient_quota", "billing_hard_limit_reached"))
_CONTENT_CODES = frozenset(("content_filter", "content_policy_violation"))
_TRANSIENT_STATUS = frozenset((408, 409, 429))


class OpenAIClients:
    """Clients of any number of providers over one pool of connections, and one provider that is the server's own.

    The SDK is imported, off the event loop, when the first client is needed: it takes about a second of CPU.
    """

    def __init__(
        self,
        *,
        base_url: str = DEFAULT_BASE_URL,
        api_key: str | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 120.0,
        keeps_connections: bool = True,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Set the server's own provider.

        Args:
            base_url: where its API begins.
            api_key: its key. It is sent to that provider's origin only, whatever address is asked for.
            connect_timeout: seconds until a connection must stand.
            read_timeout: seconds that a provider may be silent for.
            keeps_connections: whether a connection serves one request after another.
            environment: where the keys of other providers are looked up, at each request.

        Raises:
            ValueError: the address is none.
        """
        self._access = ProviderAccess(DEFAULT_BASE_URL, base_url=base_url, api_key=api_key, environment=environment)
        self.base_url = base_url
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._keeps_connections = keeps_connections
        self._pool: openai.DefaultAsyncHttpxClient | None = None
        self._opening = asyncio.Lock()
        self._clients: dict[tuple[str, str | None], openai.AsyncOpenAI] = {}

    @property
    def has_provider(self) -> bool:
        """Whether the server's own provider can be asked: the SDK is there, and so is a key where one is needed."""
        return self._access.is_open and importlib.util.find_spec("openai") is not None

    async def client(
        self, base_url: str | None = None, api_key_env: str | None = None
    ) -> "tuple[openai.AsyncOpenAI, Headers]":
        """A client, to be used at once, and the headers that each of its requests has to be given.

        Args:
            base_url: the provider; without it the server's own.
            api_key_env: the environment variable with its key; without it the server's key, if it is for that origin.

        Raises:
            GeneratorError: there is no key where one is needed.
        """
        base_url = base_url or self.base_url
        key = self._access.key_for(base_url, api_key_env)
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncio.to_thread(
                    _open_pool, self._connect_timeout, self._read_timeout, keeps_connections=self._keeps_connections
                )

        import openai  # noqa: PLC0415 - see the class

        client = self._clients.get((base_url, key))
        if client is None:
            if len(self._clients) >= _MAX_CLIENTS:
                self._clients.clear()
            client = openai.AsyncOpenAI(
                base_url=base_url,
                api_key=key or "none",
                max_retries=0,
                http_client=self._pool,
                timeout=self._pool.timeout,
            )
            self._clients[base_url, key] = client
        # The SDK insists on a key; where there is none the request omits the header that it would go into.
        return client, {} if key else {"Authorization": openai.Omit()}

    @asynccontextmanager
    async def asking(self) -> AsyncIterator["tuple[openai.AsyncOpenAI, Headers]"]:
        """A client of the server's own provider, with the headers of its requests; its errors leave as ours.

        Raises:
            GeneratorError: the provider refused or failed, or its answer cannot be read.
        """
        client, headers = await self.client()
        try:
            yield client, headers
        except Exception as error:
            if (failure := translate(error)) is None:
                raise
            raise failure from error

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None
            self._clients.clear()


def _open_pool(
    connect_timeout: float, read_timeout: float, *, keeps_connections: bool
) -> "openai.DefaultAsyncHttpxClient":
    import openai  # noqa: PLC0415
    import openai.resources.chat  # noqa: PLC0415 - the SDK would load it within the first request

    from chatledger.adapters.provider_pool import pool_options  # noqa: PLC0415

    headers = {} if keeps_connections else {"Connection": "close"}
    return openai.DefaultAsyncHttpxClient(**pool_options(connect_timeout, read_timeout, headers))


def translate(error: Exception) -> GeneratorError | None:
    """What an error of a request means for whoever asked; None for one that is none of a provider."""
    import httpx2  # noqa: PLC0415 - see the class
    import openai  # noqa: PLC0415

    if isinstance(error, openai.OpenAIError):
        return _translate_sdk(error)
    # The SDK lets the errors of the connection through where it reads what a refusal says.
    if isinstance(error, httpx2.TimeoutException):
        return GeneratorError("timeout", SILENT)
    if isinstance(error, httpx2.HTTPError):
        return GeneratorError("transient", NOT_CONNECTED)
    # So it does with those of its JSON and UTF-8 decoders; msgspec's are of the same kind.
    if isinstance(error, (ValueError, RecursionError)):
        return GeneratorError("transient", UNREADABLE)
    return None


def _translate_sdk(error: "openai.OpenAIError") -> GeneratorError:
    import openai  # noqa: PLC0415

    match error:
        case openai.APITimeoutError():
            return GeneratorError("timeout", SILENT)
        case openai.APIConnectionError():
            return GeneratorError("transient", NOT_CONNECTED)
        case openai.APIStatusError():
            return _translate_status(error)
        case openai.APIError():
            return GeneratorError(_kind_by_code(error) or "transient", words_of(error.body, error.message))
        case _:
            return GeneratorError("internal", words_of(str(error)))


def _translate_status(error: "openai.APIStatusError") -> GeneratorError:
    status = error.status_code
    if status in {401, 403}:
        # The contract's words; a provider's own would repeat a part of the key.
        return GeneratorError("credentials", "Incorrect API key provided")
    if kind := "quota" if status == 402 else _kind_by_code(error):
        return GeneratorError(kind, words_of(error.body, error.message))
    if status in _TRANSIENT_STATUS or status >= 500:
        return GeneratorError(
            "transient", words_of(error.body, error.message), retry_after=_retry_after(error.response.headers)
        )
    return GeneratorError("invalid", words_of(error.body, error.message))


def _kind_by_code(error: "openai.APIError") -> GeneratorErrorKind | None:
    codes = {error.code, error.type}
    if codes & _QUOTA_CODES:
        return "quota"
    return "content" if codes & _CONTENT_CODES else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a provider wants to be left alone for, by either header."""
    try:
        seconds = float(headers.get("retry-after-ms", "")) / 1000
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds):
        return max(0.0, seconds)
    return read_retry_after(headers.get("retry-after", ""), time.time())


def is_openai(base_url: str) -> bool:
    """Whether this is OpenAI itself, and no server that is like it."""
    return origin(base_url) == origin(DEFAULT_BASE_URL)
