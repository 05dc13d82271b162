"""The answer of an agent, however its texts come in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from chatledger.application.generation.steps import JoinedTexts

pieces = st.text(st.sampled_from("ab \n\t\u2003"), max_size=4)
steps = st.lists(st.lists(pieces, max_size=5), max_size=5)


def grown_by(steps: list[list[str]]) -> list[str]:
    texts = JoinedTexts()
    grown = []
    for step in steps:
        texts.begin()
        grown += [texts.add(piece) for piece in step]
    return grown


@given(steps)
def test_it_is_the_texts_of_the_steps_joined_and_trimmed(steps):
    said = [text for step in steps if (text := "".join(step).rstrip())]
    first = next((number for number, text in enumerate(said) if text.strip()), len(said))
    assert "".join(grown_by(steps)) == "\n".join(said[first:]).strip()


@given(steps)
def test_it_never_ends_in_a_blank_on_the_way(steps):
    shown = ""
    for piece in grown_by(steps):
        shown += piece
        assert shown == shown.strip()
