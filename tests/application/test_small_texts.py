"""What models are asked for beside the answers, and what is made of whatever they reply."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatledger.application.generation import small_texts
from chatledger.application.generation.small_texts import (
    MAX_QUESTIONS,
    MAX_REPLY,
    MAX_TOKENS,
    questions_in,
    suggestions_request,
    title_request,
    write_text,
)
from chatledger.application.ports.generator import Exchange, GeneratorError
from chatledger.domain.inputs import is_storable

texts = st.text(max_size=40)
bracketed = st.lists(st.sampled_from('[]",\\ud800 a?\0') | st.characters(), max_size=40).map("".join)


# What is asked for suggestions


def test_a_model_is_told_the_last_three_exchanges_oldest_first():
    asked = suggestions_request([Exchange(f"q{number}", f"a{number}") for number in range(5)])
    assert asked.text == "User: q2\nAssistant: a2\n\nUser: q3\nAssistant: a3\n\nUser: q4\nAssistant: a4"


def test_older_exchanges_that_do_not_fit_are_left_out_whole():
    asked = suggestions_request([Exchange("old", "x" * 9_000), Exchange("new", "y" * 100)])
    assert asked.text == f"User: new\nAssistant: {'y' * 100}"


@pytest.mark.parametrize(("character", "kept"), [("y", 8_988), ("中", 2_996)])
def test_of_one_exchange_that_is_too_long_the_end_is_told(character, kept):
    asked = suggestions_request([Exchange("new", character * 20_000)])
    assert asked.text == character * kept


@given(st.lists(st.builds(Exchange, texts, st.text(max_size=6_000)), min_size=1, max_size=4))
def test_no_more_is_told_than_fits(exchanges):
    told = suggestions_request(exchanges).text
    assert len(told.encode()) <= MAX_TOKENS * 3


# What is replied


@pytest.mark.parametrize(
    ("reply", "questions"),
    [
        ('["a?", "b?", "c?"]', ("a?", "b?", "c?")),
        ('Of course!\n```json\n["a?",\n "b?"]\n```\nAnything else?', ("a?", "b?")),
        ('["a?"] ["b?"]', ("a?",)),
        ('{"questions": ["a?"]}', ("a?",)),
        ('as in [1 or [2: ["a?"]', ("a?",)),
        ('["a?", 2, null, {"q": "b?"}, ["c?"], true, "d?"]', ("a?", "d?")),
        ('["has a ] in it?", "b?"]', ("has a ] in it?", "b?")),
        ('[" a?\\n", "", "  ", "\\u0000"]', ("a?",)),
        ('["half of a pair: \\ud83d", "a?"]', ("a?",)),
        ("[" * 5_000, ()),
        ("[]", ()),
        ("[1, 2]", ()),
        ('["a?", "b?"', ()),
        ("I cannot think of any.", ()),
        ("", ()),
    ],
)
def test_the_first_array_in_a_reply_is_read_and_what_is_no_question_dropped(reply, questions):
    assert questions_in(reply) == questions


@given(bracketed)
def test_whatever_is_replied_can_be_stored_and_shown(reply):
    questions = questions_in(reply)
    assert len(questions) <= MAX_QUESTIONS
    assert all(is_storable(question) and question.strip() and "\0" not in question for question in questions)


def test_there_is_a_bound_on_how_many_questions_are_taken():
    assert len(questions_in("[" + '"q?",' * 50 + "1]")) == MAX_QUESTIONS


# Titles


def test_a_model_names_a_long_message_by_its_two_ends():
    assert title_request("a" * 2_000).text == "a" * 2_000
    assert title_request("a" * 1_000 + "b" * 1_001).text == f"{'a' * 300}...{'b' * 300}"


# The model itself


async def test_a_reply_is_read_up_to_its_bound_and_without_what_cannot_be_stored():
    async def goes_on(_):
        return "a\0b\ud83d" + "x" * MAX_REPLY

    reply = await write_text(goes_on, title_request("q"))
    assert reply.startswith("ab?x")
    assert len(reply) <= MAX_REPLY


async def test_a_hosts_own_model_may_reply_what_is_no_text():
    async def nothing(_):
        return None

    with pytest.raises(GeneratorError) as raised:
        await write_text(nothing, title_request("q"))
    assert raised.value.kind == "internal"


async def test_a_model_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(small_texts, "TIMEOUT", 0.01)
    was_cancelled = asyncio.Event()

    async def never(_):
        try:
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()

    async with asyncio.timeout(10):
        with pytest.raises(GeneratorError) as raised:
            await write_text(never, title_request("q"))
    assert raised.value.kind == "transient"
    assert was_cancelled.is_set()


async def test_what_a_hosts_own_model_raises_tells_nothing(caplog):
    async def broken(_):
        raise ZeroDivisionError("a secret")

    with pytest.raises(GeneratorError) as raised:
        await write_text(broken, title_request("a private question"))
    assert raised.value.kind == "internal"
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in str(raised.value) + caplog.text
    assert "private" not in caplog.text


async def test_a_models_own_failure_comes_through():
    async def refuses(_):
        raise GeneratorError("quota", "no more")

    with pytest.raises(GeneratorError, match="no more"):
        await write_text(refuses, title_request("q"))
