"""Any provider that speaks OpenAI's chat completions, asked through the official SDK."""

import asyncio
import email.utils
import importlib.util
import math
import os
import re
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import msgspec

from chatledger.adapters.generator.app_settings import read_settings
from chatledger.adapters.generator.prompt import question_of
from chatledger.application.ports.generator import (
    Finish,
    GenerationRequest,
    GeneratorError,
    GeneratorErrorKind,
    Part,
    SettingsError,
    Text,
    TokenCount,
)
from chatledger.domain.inputs import fill_in
from chatledger.domain.values import FinishReason

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionMessageParam as Message

DEFAULT_BASE_URL = "https://api.openai.com/v1"

_MAX_CLIENTS = 64
_MAX_ERROR_LENGTH = 2_000
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OUR_OWN_VARIABLES = "CHATLEDGER_"
_QUOTA_CODES = frozenset(("insufficient_quota", "billing_hard_limit_reached"))
_CONTENT_CODES = frozenset(("content_filter", "content_policy_violation"))
_TRANSIENT_STATUS = frozenset((408, 409, 429))
_FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
}

Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]
MaxTokens = Annotated[int, msgspec.Meta(ge=1)]
HistoryLimit = Annotated[int, msgspec.Meta(ge=0, le=500)]


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is asked. What an app leaves out is not sent, so that the model's own default holds.

    Attributes:
        system_prompt: the first message of every prompt; ``{{variable}}`` stands for an input of that name.
        history_limit: how many earlier exchanges go into the prompt at most, the latest ones.
    """

    system_prompt: str = ""
    temperature: Temperature | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_tokens: MaxTokens | None = None
    stop: NonEmpty | tuple[NonEmpty, ...] | None = None
    seed: int | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    history_limit: HistoryLimit = 20


class OpenAICompatibleSettings(ChatSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an app may set: a model, where to ask it, and how.

    Attributes:
        base_url: where the provider's API begins; without it the server's default.
        api_key_env: the name of the environment variable of the server that holds the key. The key itself would
            stand on the ledger for ever.
    """

    model: NonEmpty
    base_url: str | None = None
    api_key_env: str | None = None

    def __post_init__(self) -> None:
        """Refuse addresses and names that could not work, or that would put a secret on the ledger.

        Raises:
            ValueError: the setting and the reason.
        """
        if self.base_url is not None:
            _check_address(self.base_url)
        if self.api_key_env is not None:
            _check_variable(self.api_key_env)


class OpenAICompatibleGenerator:
    """Streams chat completions; in completion apps too, as one user message.

    The SDK is imported, off the event loop, when the first message is answered: it takes about a second of CPU.
    All apps share one pool of connections.
    """

    name = "openai_compatible"
    repeatable = True

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
        """Set the server's defaults.

        Args:
            base_url: the provider of apps that name none.
            api_key: its key. It is sent to that provider's origin only, whatever address an app names.
            connect_timeout: seconds until a connection must stand.
            read_timeout: seconds that the provider may be silent for.
            keeps_connections: whether a connection serves one request after another.
            environment: where ``api_key_env`` is looked up, at each message.

        Raises:
            ValueError: the address is none.
        """
        _check_address(base_url)
        self._base_url = base_url
        self._api_key = api_key
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._keeps_connections = keeps_connections
        self._environment = environment
        self._pool: openai.DefaultAsyncHttpxClient | None = None
        self._opening = asyncio.Lock()
        self._clients: dict[tuple[str, str | None], openai.AsyncOpenAI] = {}

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse what the provider could not be asked with.

        Raises:
            SettingsError: the setting and the reason.
        """
        read_settings(OpenAICompatibleSettings, settings)
        if importlib.util.find_spec("openai") is None:
            raise SettingsError("openai_compatible needs the openai package: install chatledger[openai]")

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - the port's
        """The app's settings as they are: a query cannot change them."""
        return settings

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        """Ask the provider and pass on what it streams: text, then its count of tokens if it gave one, then the end.

        Raises:
            GeneratorError: the provider refused, failed, fell silent, or broke off without saying that it is done.
        """
        try:
            settings = read_settings(OpenAICompatibleSettings, request.settings)
        except SettingsError as error:
            raise GeneratorError("invalid", str(error)) from error
        base_url = settings.base_url or self._base_url
        key = self._key_for(settings, base_url)
        messages = await _prompt(request, settings)
        client = await self._client(base_url, key)

        import openai  # noqa: PLC0415 - see the class

        try:
            stream = await client.chat.completions.create(
                model=settings.model,
                messages=messages,
                stream=True,
                stream_options={"include_usage": True},
                extra_headers={} if key else {"Authorization": openai.Omit()},
                **_options(settings, base_url),
            )
        except openai.OpenAIError as error:
            raise _translate(error) from error
        answer = _Answer()
        failure: GeneratorError | None = None
        try:
            async for chunk in stream:
                if text := answer.take(chunk):
                    yield Text(text)
        except openai.OpenAIError as error:
            failure = _translate(error)
        except (ValueError, RecursionError):
            # The SDK lets its JSON and UTF-8 decoders' errors through; msgspec's are of the same kind.
            failure = GeneratorError("transient", "The provider's stream cannot be read.")
        finally:
            await _close(stream)
        # Raised out here, as an error that names the SDK's as its cause would keep the SDK's readers alive.
        if failure is not None:
            raise failure
        for part in answer.end():
            yield part

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None
            self._clients.clear()

    def _key_for(self, settings: OpenAICompatibleSettings, base_url: str) -> str | None:
        key = ""
        if settings.api_key_env is not None:
            key = self._environment.get(settings.api_key_env, "").strip()
            if not key:
                message = f"The server's environment variable {settings.api_key_env} (api_key_env) holds no key."
                raise GeneratorError("credentials", message)
        elif self._api_key is not None and _origin(base_url) == _origin(self._base_url):
            key = self._api_key.strip()
        if not key and _origin(base_url) == _origin(DEFAULT_BASE_URL):
            message = "No API key is configured: give the server one, or name its variable in the app's api_key_env."
            raise GeneratorError("credentials", message)
        if not (key.isascii() and key.isprintable()):
            raise GeneratorError("credentials", "The configured API key holds characters that no header can carry.")
        return key or None

    async def _client(self, base_url: str, key: str | None) -> "openai.AsyncOpenAI":
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncio.to_thread(
                    _open_pool, self._connect_timeout, self._read_timeout, keeps_connections=self._keeps_connections
                )

        import openai  # noqa: PLC0415

        client = self._clients.get((base_url, key))
        if client is None:
            if len(self._clients) >= _MAX_CLIENTS:
                self._clients.clear()
            # The SDK insists on a key; where there is none the request omits the header that it would go into.
            client = openai.AsyncOpenAI(
                base_url=base_url,
                api_key=key or "none",
                max_retries=0,
                http_client=self._pool,
                timeout=self._pool.timeout,
            )
            self._clients[base_url, key] = client
        return client


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, frozen=True):
    """What is read of a chunk. The SDK passes on whatever shape came, so it is checked here."""

    choices: tuple[_Choice, ...] | None = None
    usage: _Usage | None = None


class _Answer:
    """How far one stream has come."""

    def __init__(self) -> None:
        self._half = ""
        self._reason: str | None = None
        self._usage: _Usage | None = None

    def take(self, received: object) -> str:
        """The text in a chunk, which may be none.

        Raises:
            msgspec.ValidationError: it is no chunk.
        """
        chunk = msgspec.convert(received, _Chunk, from_attributes=True)
        self._usage = chunk.usage or self._usage
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self._reason = choice.finish_reason or self._reason
        if choice.delta is None:
            return ""
        return self._whole_characters(choice.delta.content or choice.delta.refusal or "")

    def end(self) -> Iterable[Part]:
        """What stands after the text.

        Raises:
            GeneratorError: the stream is over but the answer is not.
        """
        if self._reason is None:
            raise GeneratorError("transient", "The provider's stream ended in the middle of the answer.")
        if self._half:
            yield Text("\N{REPLACEMENT CHARACTER}")
        if self._usage is not None:
            yield TokenCount(self._usage.prompt_tokens, self._usage.completion_tokens)
        yield Finish(_FINISH_REASONS.get(self._reason, "other"))

    def _whole_characters(self, text: str) -> str:
        # Some providers cut between the two halves of an escaped pair, and half a character cannot be stored.
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text.removesuffix(self._half)
        return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


async def _prompt(request: GenerationRequest, settings: OpenAICompatibleSettings) -> list["Message"]:
    messages: list[Message] = []
    if settings.system_prompt:
        messages.append({"role": "system", "content": fill_in(settings.system_prompt, request.inputs)})
    if request.mode != "completion" and settings.history_limit:
        for exchange in (await request.history())[-settings.history_limit :]:
            messages.append({"role": "user", "content": exchange.query})
            messages.append({"role": "assistant", "content": exchange.answer})
    messages.append({"role": "user", "content": question_of(request)})
    return messages


def _options(settings: OpenAICompatibleSettings, base_url: str) -> dict[str, Any]:
    # OpenAI's own reasoning models refuse the name that every compatible server knows.
    limit = "max_completion_tokens" if _origin(base_url) == _origin(DEFAULT_BASE_URL) else "max_tokens"
    options = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        limit: settings.max_tokens,
        "stop": settings.stop,
        "seed": settings.seed,
        "presence_penalty": settings.presence_penalty,
        "frequency_penalty": settings.frequency_penalty,
    }
    return {name: value for name, value in options.items() if value is not None}


def _open_pool(
    connect_timeout: float, read_timeout: float, *, keeps_connections: bool
) -> "openai.DefaultAsyncHttpxClient":
    import openai  # noqa: PLC0415
    import openai.resources.chat  # noqa: PLC0415 - the SDK would load it within the first request

    timeout = openai.Timeout(read_timeout, connect=connect_timeout)
    headers = {} if keeps_connections else {"Connection": "close"}
    return openai.DefaultAsyncHttpxClient(timeout=timeout, headers=headers)


async def _close(stream: "openai.AsyncStream[Any]") -> None:
    await stream.close()
    # The SDK's readers stand waiting within one another. Left to the garbage collector, which ends them in any
    # order, they get in each other's way; reading on ends them in theirs, at once, as the connection is closed.
    with suppress(Exception):
        async for _ in stream:
            pass


def _translate(error: "openai.OpenAIError") -> GeneratorError:
    import openai  # noqa: PLC0415

    match error:
        case openai.APITimeoutError():
            return GeneratorError("transient", "The provider did not answer in time.")
        case openai.APIConnectionError():
            return GeneratorError("transient", "The connection to the provider failed.")
        case openai.APIStatusError():
            return _translate_status(error)
        case openai.APIError():
            return GeneratorError(_kind_by_code(error) or "transient", _text_of(error))
        case _:
            return GeneratorError("internal", _shortened(str(error)))


def _translate_status(error: "openai.APIStatusError") -> GeneratorError:
    status = error.status_code
    if status in {401, 403}:
        # The contract's words; a provider's own would repeat a part of the key.
        return GeneratorError("credentials", "Incorrect API key provided")
    if kind := "quota" if status == 402 else _kind_by_code(error):
        return GeneratorError(kind, _text_of(error))
    if status in _TRANSIENT_STATUS or status >= 500:
        return GeneratorError("transient", _text_of(error), retry_after=_retry_after(error.response.headers))
    return GeneratorError("invalid", _text_of(error))


def _kind_by_code(error: "openai.APIError") -> GeneratorErrorKind | None:
    codes = {error.code, error.type}
    if codes & _QUOTA_CODES:
        return "quota"
    return "content" if codes & _CONTENT_CODES else None


def _text_of(error: "openai.APIError") -> str:
    body: Any = error.body
    if isinstance(body, dict):
        given = [body.get(key) for key in ("message", "detail", "error")]
        encoded = msgspec.json.encode(body).decode() if body else ""
        body = next((text for text in given if isinstance(text, str)), encoded)
    text = body.strip() if isinstance(body, str) else ""
    return _shortened(text or error.message)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_ERROR_LENGTH else text[:_MAX_ERROR_LENGTH] + "…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a provider wants to be left alone for, by either header, as a number or as a date."""
    for header, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(header, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def _check_address(base_url: str) -> None:
    try:
        parts = urlsplit(base_url)
        port_is_possible = parts.port != 0
    except ValueError as error:
        raise ValueError(f"base_url is no address: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_possible:
        raise ValueError("base_url must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("base_url may hold no user name, password, query or fragment: it stands on the ledger")


def _check_variable(name: str) -> None:
    if not _ENVIRONMENT_NAME.fullmatch(name):
        raise ValueError("api_key_env must be the name of an environment variable, not the key")
    if name.upper().startswith(_OUR_OWN_VARIABLES):
        raise ValueError(f"api_key_env may not name a variable of the server's own ({_OUR_OWN_VARIABLES}...)")


def _origin(base_url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(base_url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
