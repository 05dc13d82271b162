"""Generators, and what else is asked of a provider."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from pydantic import SecretStr

from chatledger.adapters.embedder.openai_compatible import OpenAIEmbedder
from chatledger.adapters.generator.agent import AgentGenerator
from chatledger.adapters.generator.agent_settings import Provider
from chatledger.adapters.generator.extractive import ExtractiveGenerator
from chatledger.adapters.generator.local_model import LocalModelGenerator
from chatledger.adapters.generator.openai_compatible import OpenAICompatibleGenerator
from chatledger.adapters.generator.scripted import ScriptedGenerator
from chatledger.adapters.moderator.keywords import KeywordModerator
from chatledger.adapters.moderator.openai_compatible import OpenAIModerator
from chatledger.adapters.openai_clients import DEFAULT_BASE_URL, OpenAIClients
from chatledger.adapters.speech.openai_compatible import OpenAISpeech
from chatledger.application.errors import InvalidParameterError
from chatledger.application.features import Features
from chatledger.application.ports.generator import Generator
from chatledger.settings import Settings


def make_generators(settings: Settings) -> Mapping[str, Generator]:
    """Every generator that an app may name. Whoever uses one closes it."""
    return by_name_of(built_in(settings))


def built_in(settings: Settings, given: Sequence[Generator] = ()) -> Sequence[Generator]:
    """Those that there always are; a host's own agent takes the place of the one here, with its name."""
    keys = _api_keys(settings)
    openai = OpenAICompatibleGenerator(
        base_url=settings.openai_base_url or DEFAULT_BASE_URL,
        api_key=keys.get("openai"),
        connect_timeout=settings.provider_connect_timeout,
        read_timeout=settings.provider_silence,
    )
    agent = AgentGenerator(
        base_urls={} if settings.openai_base_url is None else {"openai": settings.openai_base_url},
        api_keys=keys,
        connect_timeout=settings.provider_connect_timeout,
        read_timeout=settings.provider_silence,
    )
    has_agent = any(isinstance(generator, AgentGenerator) and generator.name == agent.name for generator in given)
    agents = () if has_agent else (agent,)
    return ScriptedGenerator(), ExtractiveGenerator(), LocalModelGenerator(), openai, *agents


def by_name_of(generators: Sequence[Generator]) -> Mapping[str, Generator]:
    """The generators as apps name them.

    Raises:
        InvalidParameterError: two have the same name.
    """
    by_name: dict[str, Generator] = {}
    for generator in generators:
        if generator.name in by_name:
            raise InvalidParameterError("generators", f"there is a generator named {generator.name!r} already")
        by_name[generator.name] = generator
    return by_name


def open_features(settings: Settings, stack: AsyncExitStack) -> Features:
    """What the server's own provider is asked for beside answers, over connections that are closed at the end."""
    clients = OpenAIClients(
        base_url=settings.openai_base_url or DEFAULT_BASE_URL,
        api_key=_api_keys(settings).get("openai"),
        connect_timeout=settings.provider_connect_timeout,
        read_timeout=settings.provider_silence,
    )
    stack.push_async_callback(clients.close)
    moderators = (KeywordModerator(), OpenAIModerator(clients))
    speech = OpenAISpeech(
        clients,
        hears_with=settings.transcription_model,
        speaks_with=settings.speech_model,
        usual_voice=settings.speech_voice,
    )
    return Features(
        moderators={moderator.name: moderator for moderator in moderators},
        embedder=OpenAIEmbedder(clients),
        speech_to_text=speech,
        text_to_speech=speech,
    )


def _api_keys(settings: Settings) -> dict[Provider, str]:
    keys: dict[Provider, SecretStr | None] = {
        "openai": settings.openai_api_key,
        "anthropic": settings.anthropic_api_key,
        "google": settings.google_api_key,
    }
    return {provider: key.get_secret_value() for provider, key in keys.items() if key}
