"""The providers that an agent may think with, and what their errors mean. Slow to import: see AgentGenerator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import httpx2
from pydantic_ai.exceptions import (
    AgentRunError,
    ContentFilterError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelQuotaExceededError,
    ModelRequestRejectedError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
)
from pydantic_ai.models import Model

from chatledger.adapters.generator.agent_settings import Provider
from chatledger.adapters.openai_clients import is_openai
from chatledger.adapters.provider_access import SILENT, words_of
from chatledger.adapters.provider_pool import pool_options
from chatledger.application.ports.generator import GeneratorError, GeneratorErrorKind

_MAX_MODELS = 64
_responses: ContextVar[list[httpx2.Response]] = ContextVar("responses")
_CONTENT_CODES = frozenset(("content_filter", "content_policy_violation"))


class AgentModels:
    """Models of any number of providers over one pool of connections; none asks twice by itself."""

    def __init__(self, connect_timeout: float, read_timeout: float) -> None:
        self._pool = httpx2.AsyncClient(**pool_options(connect_timeout, read_timeout))
        self._pool.event_hooks["response"].append(_note)
        self._making = asyncio.Lock()
        self._models: dict[tuple[Provider, str, str, str | None], Model] = {}

    async def model(self, provider: Provider, name: str, base_url: str, key: str | None) -> Model:
        """A model by its name. The first one of a provider imports that provider's SDK, off the event loop."""
        asked = (provider, name, base_url, key)
        async with self._making:
            if asked not in self._models:
                if len(self._models) >= _MAX_MODELS:
                    self._models.clear()
                self._models[asked] = await asyncio.to_thread(_MAKERS[provider], name, base_url, key, self._pool)
            return self._models[asked]

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


async def _note(response: httpx2.Response) -> None:
    if (responses := _responses.get(None)) is not None:
        responses.append(response)


@asynccontextmanager
async def closing_responses() -> AsyncIterator[None]:
    """Close, at the end, whatever a provider answers inside.

    Google's SDK leaves a stream that is not read to its end to the garbage collector, and its provider talking on.
    """
    responses: list[httpx2.Response] = []
    _responses.set(responses)
    try:
        yield
    finally:
        for response in responses:
            await response.aclose()


def _openai(name: str, base_url: str, key: str | None, pool: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415 - each provider's SDK is slow to import
    from pydantic_ai.profiles.openai import OpenAIModelProfile  # noqa: PLC0415
    from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider  # noqa: PLC0415

    # Else the library takes an answer that was cut short for a whole one.
    profile = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
    if is_openai(base_url):
        official = OpenAIProvider(base_url=base_url, api_key=key, http_client=pool)
        return OpenAIChatModel(name, provider=official, profile=profile)
    provider = OpenAICompatibleProvider("openai-compatible", base_url=base_url, api_key=key, http_client=pool)
    return OpenAIChatModel(name, provider=provider, profile=profile)


def _anthropic(name: str, base_url: str, key: str | None, pool: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.anthropic import AnthropicModel  # noqa: PLC0415
    from pydantic_ai.providers.anthropic import AnthropicProvider  # noqa: PLC0415

    provider = AnthropicProvider(base_url=base_url, api_key=key or "none", http_client=pool)
    return AnthropicModel(name, provider=provider)


def _google(name: str, base_url: str, key: str | None, pool: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.google import GoogleModel  # noqa: PLC0415
    from pydantic_ai.providers.google import GoogleProvider  # noqa: PLC0415

    return GoogleModel(name, provider=GoogleProvider(base_url=base_url, api_key=key or "none", http_client=pool))


_MAKERS = {"openai": _openai, "anthropic": _anthropic, "google": _google}


def translate(error: AgentRunError) -> GeneratorError:
    """What the library's error means for whoever asked."""
    match error:
        case ModelAuthenticationError():
            # The contract's words; a provider's own would repeat a part of the key.
            return GeneratorError("credentials", "Incorrect API key provided")
        case ContentFilterError():
            return GeneratorError("content", words_of(error.message))
        case ModelTimeoutError():
            return GeneratorError("timeout", SILENT)
        case UnexpectedModelBehavior():
            return GeneratorError("transient", words_of(error.message))
        case ModelAPIError():
            return GeneratorError(_kind(error), words_of(error.body, error.message), retry_after=error.retry_after)
        case _:
            return GeneratorError("invalid", words_of(error.message))


def _kind(error: ModelAPIError) -> GeneratorErrorKind:
    if _CONTENT_CODES & {error.provider_error_code, error.provider_error_type}:
        return "content"
    match error:
        case ModelQuotaExceededError():
            return "quota"
        case ModelRequestRejectedError():
            return "invalid"
        case _:
            return "transient"
