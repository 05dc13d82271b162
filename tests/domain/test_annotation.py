from math import sqrt

import pytest

from chatledger.domain.annotation import essence_of, likeness, unit


@pytest.mark.parametrize("question", ["What is a ledger?", "  what IS\ta\n ledger? ", "WHAT IS A LEDGER?"])
def test_case_and_blanks_do_not_count(question):
    assert essence_of(question) == essence_of("What is a ledger?")


@pytest.mark.parametrize("question", ["What is a ledger", "Whatis a ledger?", ""])
def test_everything_else_does(question):
    assert essence_of(question) != essence_of("What is a ledger?")


def test_case_is_that_of_every_script():
    assert essence_of("STRASSE ΟΔΟΣ") == essence_of("straße οδος")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 0], [1, 0], 1),
        ([1, 0], [2, 0], 1),
        ([1, 0], [0, 3], 0),
        ([1, 0], [-1, 0], -1),
        ([1, 0], [1, 1], 1 / sqrt(2)),
        ([0, 0], [1, 1], 0),
    ],
)
def test_likeness_is_the_cosine(one, other, expected):
    assert likeness(unit(one), unit(other)) == pytest.approx(expected)
