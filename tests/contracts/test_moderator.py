"""What every moderator promises: one suite, for each of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from chatledger.adapters.moderator.keywords import MAX_KEYWORDS, KeywordModerator
from chatledger.adapters.moderator.openai_compatible import OpenAIModerator
from chatledger.adapters.openai_clients import OpenAIClients
from chatledger.application.ports.generator import GeneratorError, SettingsError
from chatledger.application.ports.moderator import AnsweredDirectly, Moderator, Overridden, Passed
from chatledger.domain.configuration import ModerationOfStage, WordAvoidance
from tests.support.fake_openai import FakeOpenAI, Received, Refusal, moderation

WORDS = ("forbidden", "Verboten")
INPUTS = ModerationOfStage(enabled=True, preset_response="Ask something else.")
OUTPUTS = ModerationOfStage(enabled=True, preset_response="I had better not say that.")
BY_KEYWORDS = WordAvoidance(enabled=True, keywords=WORDS, inputs_config=INPUTS, outputs_config=OUTPUTS)
BY_PROVIDER = WordAvoidance(enabled=True, type="openai_moderation", inputs_config=INPUTS, outputs_config=OUTPUTS)


def flags_the_words(request: Received) -> Refusal:
    return moderation(any(word.lower() in request.body["input"].lower() for word in WORDS))


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        fake.always("/moderations", flags_the_words)
        yield fake


@pytest.fixture
async def asking(provider: FakeOpenAI) -> AsyncIterator[OpenAIModerator]:
    clients = OpenAIClients(base_url=provider.base_url, read_timeout=2.0, environment={})
    yield OpenAIModerator(clients)
    await clients.close()


@pytest.fixture(params=["keywords", "openai_moderation"])
def judge(request: pytest.FixtureRequest) -> tuple[Moderator, WordAvoidance]:
    if request.param == "keywords":
        return KeywordModerator(), BY_KEYWORDS
    return request.getfixturevalue("asking"), BY_PROVIDER


async def test_settings_that_it_judges_by_are_accepted(judge):
    moderator, avoidance = judge
    moderator.check_settings(avoidance)
    assert moderator.name == avoidance.type


@pytest.mark.parametrize("text", ["", " ", "What may be said.", "forbid"])
@pytest.mark.parametrize("stage", ["input", "output"])
async def test_what_may_be_said_passes(judge, stage, text):
    moderator, avoidance = judge
    assert await moderator.judge(stage, text, avoidance) == Passed()


@pytest.mark.parametrize(("stage", "preset"), [("input", INPUTS), ("output", OUTPUTS)])
@pytest.mark.parametrize("text", ["forbidden", "A FORBIDDEN word", "das ist verboten."])
async def test_what_may_not_be_said_is_answered_by_the_preset_of_its_stage(judge, stage, preset, text):
    moderator, avoidance = judge
    assert await moderator.judge(stage, text, avoidance) == AnsweredDirectly(preset.preset_response)


@pytest.mark.parametrize("judged", range(len("so this is forb") + 1))
async def test_what_was_passed_before_can_be_the_beginning_of_what_is_not(judge, judged):
    moderator, avoidance = judge
    verdict = await moderator.judge("output", "so this is forbidden", avoidance, judged)
    assert verdict == AnsweredDirectly(OUTPUTS.preset_response)


# Keywords


def overriding(**changes: Any) -> WordAvoidance:
    return msgspec.structs.replace(
        BY_KEYWORDS, outputs_config=ModerationOfStage(enabled=True, action="overridden"), **changes
    )


async def test_a_keyword_is_overridden_by_asterisks():
    verdict = await KeywordModerator().judge("output", "Forbidden, ganz Verboten!", overriding())
    assert verdict == Overridden("*********, ganz ********!")


async def test_keywords_may_stand_on_lines_of_their_own():
    avoidance = overriding(keywords="one\r\n\n  two words \nüber.*")
    verdict = await KeywordModerator().judge("output", "Two Words, ÜBER.* and uber, ones", avoidance)
    assert verdict == Overridden("*********, ****** and uber, ***s")


async def test_of_two_keywords_at_one_place_the_longer_one_is_found():
    verdict = await KeywordModerator().judge("output", "abcd", overriding(keywords=("ab", "abc")))
    assert verdict == Overridden("***d")


async def test_where_keywords_overlap_all_of_both_is_overridden():
    verdict = await KeywordModerator().judge("output", "abcde", overriding(keywords=("abc", "cd")))
    assert verdict == Overridden("****e")


@pytest.mark.parametrize(
    ("word", "text", "overridden"),
    [
        ("maß", "MAẞ für Maß, maß", "*** für ***, ***"),
        ("istanbul", "İstanbul", "********"),
        ("ΟΔΟΣ", "ﬁne οδος", "ﬁne ****"),
    ],
)
async def test_letters_of_whatever_case_keep_their_places(word, text, overridden):
    assert await KeywordModerator().judge("output", text, overriding(keywords=(word,))) == Overridden(overridden)


async def test_only_what_was_not_passed_before_is_looked_at():
    verdict = await KeywordModerator().judge("output", "bad, then bad", overriding(keywords=("bad",)), 8)
    assert verdict == Overridden("bad, then ***")


async def test_others_have_their_turn_while_many_keywords_are_looked_for():
    words = tuple(f"{place:03}w" for place in range(MAX_KEYWORDS))
    looking = asyncio.create_task(KeywordModerator().judge("input", "a0b1 w" * 16_000, overriding(keywords=words)))
    turns = 0
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert looking.result() == Passed()
    assert turns > 10


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"keywords": ()}, "keywords"),
        ({"keywords": " \n "}, "keywords"),
        ({"keywords": ("x",) * 1_001}, "keywords"),
        ({"keywords": "x" * 10_001}, "keywords"),
        ({"model": "m"}, "model"),
    ],
)
def test_settings_that_keywords_cannot_judge_by_are_refused_by_name(changes, name):
    with pytest.raises(SettingsError, match=rf"^{name}: "):
        KeywordModerator().check_settings(msgspec.structs.replace(BY_KEYWORDS, **changes))


# The provider's endpoint


@pytest.mark.parametrize(("given", "asked"), [("", "omni-moderation-latest"), ("strict-1", "strict-1")])
async def test_the_provider_is_asked_with_the_apps_model(asking, provider, given, asked):
    await asking.judge("input", "Hello", msgspec.structs.replace(BY_PROVIDER, model=given))
    (request,) = provider.requests
    assert (request.body, request.path) == ({"input": "Hello", "model": asked}, "/v1/moderations")


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (Refusal(500, {"error": {"message": "Oops."}}), "transient"),
        (Refusal(401, {"error": {"message": "Bad key"}}), "credentials"),
        (Refusal(200, {"results": [{"flagged": "perhaps"}]}), "transient"),
        (Refusal(200, {}), "transient"),
        (Refusal(200, b"<html>", {"content-type": "text/html"}), "transient"),
        (Refusal(200, b"{not json"), "transient"),
    ],
)
async def test_without_a_verdict_nothing_passes(asking, provider, response, kind):
    provider.always("/moderations", lambda _: response)
    with pytest.raises(GeneratorError) as raised:
        await asking.judge("input", "Hello", BY_PROVIDER)
    assert raised.value.kind == kind


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"keywords": "x"}, "keywords"),
        ({"outputs_config": ModerationOfStage(action="overridden")}, "outputs_config.action"),
        ({"inputs_config": ModerationOfStage(action="overridden")}, "inputs_config.action"),
    ],
)
def test_settings_that_the_endpoint_has_no_use_for_are_refused_by_name(asking, changes, name):
    with pytest.raises(SettingsError, match=rf"^{name}: "):
        asking.check_settings(msgspec.structs.replace(BY_PROVIDER, **changes))


def test_without_a_provider_the_endpoint_is_refused():
    with pytest.raises(SettingsError, match=r"^type: .*openai_api_key"):
        OpenAIModerator(OpenAIClients(environment={})).check_settings(BY_PROVIDER)
