"""Words that are sought, and the places where they stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatledger.application.search.matching import PASSAGE, sought
from chatledger.application.search.terms import Terms
from chatledger.application.system_clock import new_id

APP, ANN = new_id(), new_id()


class Hashes:
    """What a key store has to say of terms."""

    def lookup(self, scope: str, text: str) -> str:
        return "5e" * 32


TERMS = Terms(Hashes())


@pytest.mark.parametrize(
    ("asked", "text", "is_in"),
    [
        ("sky", "Why is the sky blue?", True),
        ("SKY blue", "Why is the sky blue?", True),
        ("blue sky", "Why is the sky blue?", True),
        ('"blue sky"', "Why is the sky blue?", False),
        ('"the sky"', "Why is the sky blue?", True),
        ('"the  SKY," blue', "Why is the sky blue?", True),
        ("sk", "Why is the sky blue?", False),
        ("skyblue", "Why is the sky blue?", False),
        ("cafe", "Un café, s\u2019il vous plaît", True),
        ("café", "un cafe", True),
        ("\uff26\uff35\uff2c\uff2c", "full width", True),
        ("天空", "为什么天空是蓝色的?", True),
        ("天蓝", "为什么天空是蓝色的?", False),
        ("空", "为什么天空是蓝色的?", True),
        ("天空 蓝色", "为什么天空是蓝色的?", True),
        ("天空很蓝", "天空 空很 很蓝", False),
        ("SQL数据库", "我们的SQL 数据库很大", True),
        ('"SQL数据库"', "数据库 SQL", False),
        ("ท้องฟ้า", "ทำไมท้องฟ้าเป็นสีฟ้า", True),
    ],
)
def test_what_is_in_a_text(asked, text, is_in) -> None:
    assert sought(asked).is_in(text) is is_in


def test_words_may_stand_in_different_texts_and_phrases_may_not() -> None:
    assert sought("sky blue").is_in("the sky", "is blue")
    assert not sought('"sky is"').is_in("the sky", "is blue")


@pytest.mark.parametrize("asked", ["", " ", "?!", '""', '" "', '"'])
def test_where_there_is_no_word_nothing_is_sought(asked) -> None:
    assert not sought(asked).phrases


def highlighted(asked: str, text: str) -> list[list[str]]:
    passages = sought(asked).passages(text)
    return [[passage.text[start:end] for start, end in passage.highlights] for passage in passages]


@pytest.mark.parametrize(
    ("asked", "text", "marked"),
    [
        ("sky", "Why is the sky blue, SKY?", [["sky", "SKY"]]),
        ("cafe", "Un café noir, un CAFÉ.", [["café", "CAFÉ"]]),
        ("cafe", "Un cafe\u0301 noir", [["cafe\u0301"]]),
        ("天空", "为什么天空是蓝色的,天空!", [["天空", "天空"]]),
        ("数据库", "我们的SQL数据库", [["数据库"]]),
        ("sky", "nothing of it", []),
        ("a", "a " + "x " * 300 + "a " + "y " * 300 + "a " + "z " * 300 + "a", [["a"], ["a"], ["a"]]),
    ],
)
def test_what_is_marked(asked, text, marked) -> None:
    assert highlighted(asked, text) == marked


@given(st.text(max_size=300), st.data())
def test_each_word_of_a_text_is_found_in_it_by_the_index_and_by_the_eye(text, data) -> None:
    """Whatever script: what the index has of a text is what a piece of it asks for."""
    start = data.draw(st.integers(0, len(text)))
    piece = text[start : data.draw(st.integers(start, len(text)))].replace('"', " ")
    boundary = text[:start] + " " + piece + " " + text[start + len(piece) :]
    wanted = sought(piece)
    if wanted.phrases:
        assert wanted.is_in(boundary)
        assert TERMS.asked(APP, ANN, wanted.texts) <= TERMS.indexed(APP, ANN, boundary)
    for passage in wanted.passages(boundary):
        assert len(passage.text) <= max(PASSAGE, len(boundary))
        assert all(0 <= begin < end <= len(passage.text) for begin, end in passage.highlights)
        assert passage.text in boundary


def test_terms_of_another_person_are_others() -> None:
    indexed = TERMS.indexed(APP, ANN, "the sky")
    assert TERMS.asked(APP, ANN, ["sky"]) <= indexed
    assert not TERMS.asked(APP, new_id(), ["sky"]) <= indexed
    assert TERMS.asked(APP, None, ["sky"]) <= indexed
