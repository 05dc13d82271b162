"""How much of what was said before fits into a prompt."""

import pytest

from chatledger.domain.context_window import end_within, estimated_tokens, within

TOKENS = {"new": 3, "old": 4, "older": 3, "long": 9, "short": 1}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 4), ("a", 5), ("abc", 5), ("abcd", 6), ("Why is the sky?", 9), ("天空", 6), ("𝄞", 6)],
)
def test_the_tokens_of_a_text(text, tokens) -> None:
    assert estimated_tokens(text) == tokens


@pytest.mark.parametrize(
    ("limit", "text", "kept"),
    [
        (100, "", ""),
        (5, "abc", "abc"),
        (5, "abcd", "bcd"),
        (6, "abc天空", "天空"),
        (5, "a天空", "空"),
        (5, "𝄞", ""),
        (5, "𝄞ab", "ab"),
        (4, "abc", ""),
        (0, "abc", ""),
    ],
)
def test_the_end_of_a_text_stays(limit, text, kept) -> None:
    assert end_within(limit, text) == kept
    assert estimated_tokens(end_within(limit, text)) <= max(limit, estimated_tokens(""))


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (0, ["new", "old", "older"]),
        (100, ["new", "old", "older"]),
        (10, ["new", "old", "older"]),
        (9, ["new", "old"]),
        (6, ["new"]),
        (2, []),
    ],
    ids=str,
)
def test_the_newest_stay(limit, kept) -> None:
    assert list(within(limit, ["new", "old", "older"], TOKENS.__getitem__)) == kept


def test_nothing_stands_before_a_gap() -> None:
    assert list(within(5, ["new", "long", "short"], TOKENS.__getitem__)) == ["new"]


def test_no_more_is_read_than_is_kept() -> None:
    def things():
        yield "new"
        yield "long"
        pytest.fail("nobody has to read this far")

    assert list(within(5, things(), TOKENS.__getitem__)) == ["new"]


def test_without_a_limit_nothing_is_counted() -> None:
    assert list(within(0, ["new", "old"], pytest.fail)) == ["new", "old"]
