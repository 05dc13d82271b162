"""What every model for small texts must do."""

import asyncio

import pytest

from chatledger.adapters.generator.extractive import ExtractiveGenerator
from chatledger.adapters.generator.scripted import ScriptedGenerator
from chatledger.application.generation.small_texts import model_of
from chatledger.application.ports.generator import GeneratorError
from chatledger.application.ports.text_model import TextRequest

ASKED = TextRequest(purpose="title", instruction="Write a title.", text="Why is the sky blue?", max_tokens=20)


@pytest.mark.parametrize("reply", ["Sky", "The blue of the sky\n\nas it is", "天空 🜁"])
async def test_a_reply_comes_whole(model_told, reply):
    assert await model_told.replying(reply)(ASKED) == reply


async def test_a_failure_says_what_may_be_done_about_it(model_told):
    with pytest.raises(GeneratorError) as raised:
        await model_told.failing()(ASKED)
    assert raised.value.kind == "quota"


async def test_a_cancelled_request_ends_at_once(model_told):
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await model_told.silent()(ASKED)


def test_a_generator_of_answers_alone_has_no_model():
    assert model_of(ExtractiveGenerator(), {}) is None


def test_the_scripted_generator_has_none_unless_it_is_told_what_to_reply():
    assert model_of(ScriptedGenerator(), {"tokens": 5}) is None
    assert model_of(ScriptedGenerator(), {"suggestions": "[]"}) is not None
