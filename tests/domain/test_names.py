"""The names of conversations: from their first question, or from a model's reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatledger.domain.names import UNNAMED, hint_of, line_of, question_to_name, title_in


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("Hello", "Hello"),
        ("  Hello \n", "Hello"),
        (" \t\n", UNNAMED),
        ("", UNNAMED),
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 20 + "…"),
        ("𝄞" * 21, "𝄞" * 20 + "…"),
    ],
)
def test_a_conversation_begins_with_the_start_of_its_first_question_as_its_name(query, hint) -> None:
    assert hint_of(query) == hint


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("Hello", "Hello"),
        ("  Hello \n", "Hello"),
        ("", UNNAMED),
        ("x" * 50, "x" * 50),
        ("x" * 51, "x" * 47 + "..."),
        ("𝄞" * 51, "𝄞" * 47 + "..."),
    ],
)
def test_without_a_model_the_first_question_in_a_line_is_the_name(query, line) -> None:
    assert line_of(query) == line


@pytest.mark.parametrize(
    ("query", "given_to_the_model"),
    [
        ("Hello", "Hello"),
        ("x" * 2_000, "x" * 2_000),
        ("a" * 1_000 + "b" * 1_001, "a" * 300 + "..." + "b" * 300),
    ],
)
def test_of_a_long_question_the_model_gets_the_two_ends(query, given_to_the_model) -> None:
    assert question_to_name(query) == given_to_the_model


@pytest.mark.parametrize(
    ("reply", "title"),
    [
        ("Why the sky is blue", "Why the sky is blue"),
        ("  Why  the\tsky\u3000is blue \n", "Why the sky is blue"),
        ("The sky\n\nThis title says what it is about.", "The sky"),
        ('"The sky"', "The sky"),
        ("**The sky**", "The sky"),
        ("“The sky”", "The sky"),
        ("「天空」", "天空"),
        ('"Sky" and "sea"', '"Sky" and "sea"'),
        ("The dog's day", "The dog's day"),
        ("<think>It asks about the sky.\nSo:</think>\n\nThe sky", "The sky"),
        ("x" * 75, "x" * 75),
        ("x" * 76, "x" * 72 + "..."),
        (" \n ", ""),
        ("", ""),
        ("<think>Nothing comes to mind.</think>", ""),
    ],
)
def test_the_title_is_the_first_line_of_a_reply(reply, title) -> None:
    assert title_in(reply) == title


@given(st.text(max_size=200))
def test_whatever_a_model_replies_a_title_fits_on_a_line(reply) -> None:
    title = title_in(reply)
    assert len(title) <= 75
    assert len(title.splitlines()) <= 1
    assert title == title.strip()
