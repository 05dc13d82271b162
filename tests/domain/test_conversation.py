"""A conversation, and the name of one that nobody named."""

import pytest

from chatledger.domain.conversation import UNNAMED, Conversation, name_from_query
from chatledger.domain.events import ConversationStarted
from tests.domain.facts import APP, END_USER
from tests.domain.specification import AN_ID, given

opened = ConversationStarted(
    app_id=APP, end_user_id=END_USER, hidden=False, name="Sky", inputs={"name": "Ann"}, introduction="Ask me."
)


def test_a_conversation_is_opened() -> None:
    given(Conversation).when(
        lambda _: Conversation.start(
            AN_ID,
            app_id=APP,
            end_user_id=END_USER,
            hidden=False,
            name="Sky",
            inputs={"name": "Ann"},
            introduction="Ask me.",
        )
    ).then(opened)


def test_a_conversation_knows_how_it_was_opened() -> None:
    given(Conversation, opened).is_seen_as(started=opened, version=1)


@pytest.mark.parametrize(
    ("query", "automatic", "name"),
    [
        ("Hello", True, "Hello"),
        ("Hello", False, "Hello"),
        ("  Hello \n", True, "Hello"),
        ("", True, UNNAMED),
        (" \t\n", False, UNNAMED),
        ("x" * 50, True, "x" * 50),
        ("x" * 51, True, "x" * 47 + "..."),
        ("x" * 20, False, "x" * 20),
        ("x" * 21, False, "x" * 20 + "…"),
        ("𝄞" * 51, True, "𝄞" * 47 + "..."),
        ("𝄞" * 21, False, "𝄞" * 20 + "…"),
    ],
)
def test_the_name_of_a_conversation_comes_from_its_first_query(query, automatic, name) -> None:
    assert name_from_query(query, automatic=automatic) == name
