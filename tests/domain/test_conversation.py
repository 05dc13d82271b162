"""A conversation, and the name of one that nobody named."""

from uuid import UUID

import msgspec
import pytest

from chatledger.domain.configuration import DeclaredVariable
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import ConversationDeletedError, NoSuchVariableError, VariableTypeError
from chatledger.domain.events import (
    ConversationDeleted,
    ConversationErased,
    ConversationPinned,
    ConversationRenamed,
    ConversationStarted,
    ConversationUnpinned,
    ConversationVariableSet,
)
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


VARIABLE = UUID(int=7)
language = ConversationVariableSet(
    variable_id=VARIABLE, value_type="string", name="language", value="en", description="What to answer in."
)
danish = msgspec.structs.replace(language, value="da")
deleted, pinned, unpinned = ConversationDeleted(), ConversationPinned(), ConversationUnpinned()


def counts(value):
    return msgspec.structs.replace(language, value_type="array[any]", value=[value])


def renamed(by, name):
    return ConversationRenamed(by=by, end_user_id=opened.end_user_id, name=name)


def rename(name):
    return lambda conversation: conversation.rename(name)


def wished_for(name, asked_at=1):
    return lambda conversation: conversation.take_found_name(name, asked_at)


def found(name):
    return lambda conversation: conversation.take_first_name(name)


def declare(conversation):
    conversation.declare_variable(
        VARIABLE, DeclaredVariable(name="language", default="en", description="What to answer in.")
    )


def set_to(value, variable_id=VARIABLE):
    return lambda conversation: conversation.set_variable(variable_id, value)


FOLLOWS = [
    ("a user's name", [opened], rename("Mine"), [renamed("user", "Mine")]),
    ("a user's name again", [opened, renamed("user", "A")], rename("A"), [renamed("user", "A")]),
    ("a better name", [opened], wished_for("The sky"), [renamed("automatic", "The sky")]),
    ("no better name", [opened], wished_for("Sky"), []),
    (
        "a name that is found at a user's wish takes the place of theirs",
        [opened, renamed("user", "Mine")],
        wished_for("The sky", asked_at=2),
        [renamed("automatic", "The sky")],
    ),
    (
        "a name that is found at a user's wish gives way to one that is theirs since",
        [opened, renamed("user", "Mine")],
        wished_for("The sky", asked_at=1),
        [],
    ),
    (
        "an automatic name gives way to a later one",
        [opened, renamed("automatic", "Air")],
        wished_for("The sky"),
        [renamed("automatic", "The sky")],
    ),
    ("a name is found", [opened], found("The sky"), [renamed("automatic", "The sky")]),
    ("a name is found that it has", [opened], found("Sky"), [renamed("automatic", "Sky")]),
    ("a name is found too late", [opened, renamed("user", "Mine")], found("The sky"), []),
    ("a name is found twice", [opened, renamed("automatic", "Air")], found("The sky"), []),
    ("a variable", [opened], declare, [language]),
    ("a variable changes", [opened, language], set_to("da"), [danish]),
    ("a variable keeps its value", [opened, language], set_to("en"), []),
    ("a variable changes by its type alone", [opened, counts(1)], set_to([True]), [counts(True)]),
    ("it is pinned", [opened], Conversation.pin, [pinned]),
    ("it is pinned already", [opened, pinned], Conversation.pin, []),
    ("it is unpinned", [opened, pinned], Conversation.unpin, [unpinned]),
    ("it is not pinned", [opened], Conversation.unpin, []),
    ("it is deleted", [opened], Conversation.delete, [deleted]),
]


@pytest.mark.parametrize(("history", "command", "events"), [pytest.param(*row, id=name) for name, *row in FOLLOWS])
def test_what_follows(history, command, events) -> None:
    given(Conversation, *history).when(command).then(*events)


@pytest.mark.parametrize(
    "command",
    [
        rename("Mine"),
        wished_for("The sky"),
        found("The sky"),
        declare,
        set_to("da"),
        Conversation.pin,
        Conversation.unpin,
        Conversation.delete,
    ],
)
def test_nothing_can_be_done_with_a_deleted_conversation(command) -> None:
    given(Conversation, opened, language, deleted).when(command).then_refused(ConversationDeletedError)


def test_a_variable_that_there_is_not_cannot_be_set() -> None:
    given(Conversation, opened, language).when(set_to("da", UUID(int=8))).then_refused(NoSuchVariableError)


def test_a_variable_cannot_be_set_to_a_value_of_another_type() -> None:
    refusal = given(Conversation, opened, language).when(set_to(5)).then_refused(VariableTypeError)
    assert str(refusal) == "Type mismatch: variable 'language' expects string, but got number type"


def test_how_a_conversation_is_seen() -> None:
    given(Conversation, opened, language, danish, renamed("user", "Mine"), pinned).is_seen_as(
        name="Mine", named_by="user", variables={VARIABLE: danish}, is_pinned=True, is_deleted=False
    )
    given(Conversation, opened, pinned, unpinned, deleted).is_seen_as(is_pinned=False, is_deleted=True)


erased = ConversationErased(cause="erasure")


@pytest.mark.parametrize("history", [(opened,), (opened, pinned), (opened, deleted)])
def test_a_conversation_is_erased_a_deleted_one_too(history) -> None:
    given(Conversation, *history).when(lambda conversation: conversation.erase("erasure")).then(erased)


def test_an_erased_conversation_is_erased_once_and_takes_nothing_more() -> None:
    given(Conversation, opened, erased).when(lambda conversation: conversation.erase("retention")).then()
    given(Conversation, opened, erased).when(lambda conversation: conversation.pin()).then_refused(
        ConversationDeletedError
    )
    given(Conversation, opened, erased).is_seen_as(is_erased=True, is_deleted=False)


def test_what_is_left_of_an_erased_conversation_can_be_deleted_once() -> None:
    given(Conversation, opened, erased).when(lambda conversation: conversation.delete()).then(deleted)
    given(Conversation, opened, erased, deleted).when(lambda conversation: conversation.delete()).then_refused(
        ConversationDeletedError
    )
