"""Any provider that speaks OpenAI's chat completions, asked through the official SDK."""

import importlib.util
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from chatledger.adapters.generator.app_settings import read_settings
from chatledger.adapters.generator.file_parts import file_parts
from chatledger.adapters.generator.prompt import fill_prompt, question_of
from chatledger.adapters.generator.small_texts import text_model_by
from chatledger.adapters.openai_clients import (
    DEFAULT_BASE_URL,
    OpenAIClients,
    is_openai,
    translate,
)
from chatledger.adapters.provider_access import BROKEN_OFF, check_access, storable
from chatledger.application.ports.generator import (
    MOST_TOKENS,
    Finish,
    GenerationRequest,
    GeneratorError,
    Part,
    SettingsError,
    Text,
    TokenCount,
)
from chatledger.application.ports.text_model import TextModel
from chatledger.domain.values import FinishReason

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionMessageParam as Message

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
        system_prompt: the first message of every prompt; ``{{variable}}`` stands for an input of that name or,
            without one, for the conversation's variable.
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
        check_access(self.base_url, self.api_key_env)


class OpenAICompatibleGenerator:
    """Streams chat completions; in completion apps too, as one user message. All apps share one pool of connections."""

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
        self._clients = OpenAIClients(
            base_url=base_url,
            api_key=api_key,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            keeps_connections=keeps_connections,
            environment=environment,
        )

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
        messages = await _prompt(request, settings)
        client, headers = await self._clients.client(settings.base_url, settings.api_key_env)
        try:
            stream = await client.chat.completions.create(
                model=settings.model,
                messages=messages,
                stream=True,
                stream_options={"include_usage": True},
                extra_headers=headers,
                **_options(settings, settings.base_url or self._clients.base_url),
            )
        except Exception as error:
            if (refusal := translate(error)) is None:
                raise
            raise refusal from error
        answer = _Answer()
        failure: GeneratorError | None = None
        try:
            async for chunk in stream:
                if text := answer.take(chunk):
                    yield Text(text)
        except Exception as error:
            if (failure := translate(error)) is None:
                raise
        finally:
            await _close(stream)
        # Raised out here, as an error that names the SDK's as its cause would keep the SDK's readers alive.
        if failure is not None:
            raise failure
        for part in answer.end():
            yield part

    def text_model(self, settings: Mapping[str, Any]) -> TextModel:
        """The app's model."""
        return text_model_by(self, settings, stop=None)

    async def close(self) -> None:
        """Close all connections."""
        await self._clients.close()


TokensCounted = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: TokensCounted
    completion_tokens: TokensCounted


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, frozen=True):
    """What is read of a chunk. The SDK passes on whatever shape came, so it is checked here."""

    choices: tuple[_Choice, ...] | None = None
    usage: object = None


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
        if chunk.usage is not None:
            # A count that makes no sense is none: the answer is there all the same.
            with suppress(msgspec.ValidationError):
                self._usage = msgspec.convert(chunk.usage, _Usage, from_attributes=True)
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
            raise GeneratorError("transient", BROKEN_OFF)
        if self._half:
            yield Text("\N{REPLACEMENT CHARACTER}")
        if self._usage is not None:
            yield TokenCount(self._usage.prompt_tokens, self._usage.completion_tokens)
        yield Finish(_FINISH_REASONS.get(self._reason, "other"))

    def _whole_characters(self, text: str) -> str:
        # Some providers cut between the two halves of an escaped pair, and half a character cannot be stored.
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return storable(text.removesuffix(self._half))


async def _prompt(request: GenerationRequest, settings: OpenAICompatibleSettings) -> list["Message"]:
    messages: list[Message] = []
    if settings.system_prompt:
        messages.append({"role": "system", "content": await fill_prompt(settings.system_prompt, request)})
    if request.mode != "completion" and settings.history_limit:
        for exchange in await request.history(settings.history_limit):
            messages.append({"role": "user", "content": exchange.query})
            messages.append({"role": "assistant", "content": exchange.answer})
    question = question_of(request)
    files = await file_parts(request.files)
    messages.append({"role": "user", "content": [{"type": "text", "text": question}, *files] if files else question})
    return messages


def _options(settings: OpenAICompatibleSettings, base_url: str) -> dict[str, Any]:
    # OpenAI's own reasoning models refuse the name that every compatible server knows.
    limit = "max_completion_tokens" if is_openai(base_url) else "max_tokens"
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


async def _close(stream: "openai.AsyncStream[Any]") -> None:
    await stream.close()
    # The SDK's readers stand waiting within one another. Left to the garbage collector, which ends them in any
    # order, they get in each other's way; reading on ends them in theirs, at once, as the connection is closed.
    with suppress(Exception):
        async for _ in stream:
            pass
