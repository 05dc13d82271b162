"""What an app cannot switch on here is refused by its name, before anything is stored."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from chatledger.adapters.moderator.keywords import KeywordModerator
from chatledger.application.errors import InvalidParameterError
from chatledger.application.features import Features
from chatledger.domain.configuration import AppConfiguration, Switch


@dataclass
class Provider:
    is_available: bool

    async def embed(self, model, texts):
        raise NotImplementedError

    async def transcribe(self, audio, mime_type):
        raise NotImplementedError

    def speak(self, text, voice):
        raise NotImplementedError


def features(*, is_available: bool) -> Features:
    provider, keywords = Provider(is_available), KeywordModerator()
    return Features({keywords.name: keywords}, provider, provider, provider)


def check(configuration: dict[str, Any], *, is_available: bool = False) -> None:
    made = msgspec.convert({"generator": "scripted"} | configuration, AppConfiguration)
    features(is_available=is_available).check(made)


PRESET = {"enabled": True, "preset_response": "No."}
AVOIDANCE = {"enabled": True, "keywords": "a\nb", "inputs_config": PRESET}
EMBEDDINGS = {"enabled": True, "embedding_provider_name": "openai", "embedding_model_name": "m"}


@pytest.mark.parametrize(
    ("part", "settings", "field"),
    [
        ("sensitive_word_avoidance", {"type": "api"}, "type"),
        ("sensitive_word_avoidance", {"inputs_config": {}}, "enabled"),
        ("sensitive_word_avoidance", {"keywords": ""}, "keywords"),
        ("sensitive_word_avoidance", {"inputs_config": {"enabled": True}}, "inputs_config.preset_response"),
        (
            "sensitive_word_avoidance",
            {"outputs_config": {"enabled": True, "preset_response": " "}},
            "outputs_config.preset_response",
        ),
        ("annotation_reply", {"embedding_provider_name": "cohere"}, "embedding_provider_name"),
        ("annotation_reply", EMBEDDINGS, "embedding_model_name"),
        ("speech_to_text", {"enabled": True}, ""),
        ("text_to_speech", {"enabled": True}, ""),
        ("text_to_speech", {"auto_play": True}, "auto_play"),
    ],
)
def test_what_would_have_no_effect_is_refused(part, settings, field):
    usual = AVOIDANCE if part == "sensitive_word_avoidance" else {}
    with pytest.raises(InvalidParameterError) as raised:
        check({part: usual | settings})
    assert raised.value.field == f"{part}.{field}".rstrip(".")
    assert str(raised.value).startswith(part)


@pytest.mark.parametrize(
    ("part", "settings", "needs_provider"),
    [
        ("sensitive_word_avoidance", AVOIDANCE, False),
        ("sensitive_word_avoidance", AVOIDANCE | {"outputs_config": {"enabled": True, "action": "overridden"}}, False),
        ("sensitive_word_avoidance", {"type": "api"}, False),
        ("annotation_reply", {"enabled": True}, False),
        ("annotation_reply", EMBEDDINGS | {"enabled": False}, False),
        ("annotation_reply", EMBEDDINGS | {"embedding_provider_name": "a/b/openai"}, True),
        ("speech_to_text", {"enabled": True}, True),
        ("text_to_speech", {"enabled": True, "auto_play": True}, True),
    ],
)
def test_what_the_server_can_do_is_accepted(part, settings, needs_provider):
    check({part: settings}, is_available=needs_provider)


async def test_nothing_of_a_refused_app_is_stored(chat):
    before = await chat.application.directory.apps()
    refused = AppConfiguration(generator="scripted", speech_to_text=Switch(enabled=True))
    with pytest.raises(InvalidParameterError, match=r"^speech_to_text: "):
        await chat.application.apps.create("chat", "demo", refused, chat.caller().context(None))
    assert await chat.application.directory.apps() == before
