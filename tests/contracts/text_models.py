"""The models for small texts under contract. Each opener yields what gives a model that behaves as told."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from chatledger.adapters.generator.agent import AgentGenerator
from chatledger.adapters.generator.openai_compatible import OpenAICompatibleGenerator
from chatledger.adapters.generator.scripted import ScriptedGenerator
from chatledger.application.ports.generator import Generator
from chatledger.application.ports.text_model import TextModel
from tests.support.fake_openai import FakeOpenAI, Refusal, Stall, Stream, answer


class Told(Protocol):
    """Gives a model that does this with the next request."""

    def replying(self, text: str) -> TextModel: ...

    def failing(self) -> TextModel: ...

    def silent(self) -> TextModel: ...


class _Scripted:
    def replying(self, text: str) -> TextModel:
        return _model(title=text)

    def failing(self) -> TextModel:
        return _model(text_fail_as="quota")

    def silent(self) -> TextModel:
        return _model(title="late", text_ms=3_600_000)


def _model(**settings: object) -> TextModel:
    model = ScriptedGenerator().text_model(settings)
    assert model is not None
    return model


class _AtAProvider:
    def __init__(self, provider: FakeOpenAI, generator: OpenAICompatibleGenerator | AgentGenerator) -> None:
        self._provider = provider
        self._generator = generator

    def replying(self, text: str) -> TextModel:
        return self._next(answer(*re.findall(r"\S*\s*", text)))

    def failing(self) -> TextModel:
        return self._next(Refusal(402, {"error": {"message": "no more"}}))

    def silent(self) -> TextModel:
        return self._next(Stream([Stall()]))

    def _next(self, response: Stream | Refusal) -> TextModel:
        self._provider.then(response)
        return self._generator.text_model({"model": "m"})


@asynccontextmanager
async def _scripted() -> AsyncIterator[Told]:
    yield _Scripted()


@asynccontextmanager
async def _openai_compatible() -> AsyncIterator[Told]:
    async with FakeOpenAI() as provider:
        generator = OpenAICompatibleGenerator(base_url=provider.base_url, api_key="key")
        async with _closed_after(generator):
            yield _AtAProvider(provider, generator)


@asynccontextmanager
async def _agent() -> AsyncIterator[Told]:
    async with FakeOpenAI() as provider:
        generator = AgentGenerator(base_urls={"openai": provider.base_url}, api_keys={"openai": "key"})
        async with _closed_after(generator):
            yield _AtAProvider(provider, generator)


@asynccontextmanager
async def _closed_after(generator: Generator) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await generator.close()


TEXT_MODELS: dict[str, Callable[[], AbstractAsyncContextManager[Told]]] = {
    "scripted": _scripted,
    "openai_compatible": _openai_compatible,
    "agent": _agent,
}
