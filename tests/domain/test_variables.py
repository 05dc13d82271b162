"""What an app may declare as its conversations' variables, and what each type holds (contract, section 6.4)."""

from typing import get_args
from uuid import UUID

import pytest

from chatledger.domain.configuration import DeclaredVariable
from chatledger.domain.errors import InvalidInputError, VariableTypeError
from chatledger.domain.events import ConversationStarted, ConversationVariableSet
from chatledger.domain.values import VariableType
from chatledger.domain.variables import (
    first_value,
    require_fit,
    stored_files,
    type_of,
    validate_variables,
    variables_at,
)
from tests.domain.facts import APP, END_USER

REMOTE = {"type": "image", "transfer_method": "remote_url", "url": "https://example.org/a.png"}
UPLOADED = {"type": "document", "transfer_method": "local_file", "upload_file_id": "0198a000"}
FILE = UUID(int=7)
STORED = {**UPLOADED, "upload_file_id": str(FILE)}
NO_FILES = [
    {**REMOTE, "type": "sculpture"},
    {**REMOTE, "type": ["image"]},
    {**UPLOADED, "transfer_method": "remote_url"},
    {**UPLOADED, "type": "sculpture"},
    {**UPLOADED, "transfer_method": "tool_file"},
    {**UPLOADED, "upload_file_id": 7},
    {},
]

TYPES = {
    "string": (["", "hi"], [1, None, ["hi"]]),
    "secret": (["", "hush"], [1, {}]),
    "number": ([0, -2.5, 2**70], [True, "1", 10**400, float("nan"), float("inf"), None]),
    "boolean": ([True, False], [0, 1, "true"]),
    "object": ([{}, {"a": [1]}, REMOTE], [[], "{}", None]),
    "file": ([REMOTE, UPLOADED], [*NO_FILES, "a.png", None]),
    "array[any]": ([[], [1, "a", None]], [{}, "[]", None]),
    "array[string]": ([[], ["a"]], [["a", 1], "a"]),
    "array[number]": ([[], [1, 2.5]], [[1, True], 1]),
    "array[boolean]": ([[], [True]], [[True, 0], True]),
    "array[object]": ([[], [{}]], [[{}, None], {}]),
    "array[file]": ([[], [REMOTE, UPLOADED]], [[REMOTE, {}], REMOTE]),
}


@pytest.mark.parametrize(
    ("value_type", "value", "named"),
    [
        ("file", STORED, [FILE]),
        ("file", REMOTE, []),
        ("file", UPLOADED, []),
        ("file", None, []),
        ("array[file]", [REMOTE, STORED], [FILE]),
        ("object", STORED, []),
    ],
)
def test_the_uploads_that_a_variable_names(value_type, value, named) -> None:
    assert list(stored_files(value_type, value)) == named


def test_every_type_is_spoken_of() -> None:
    assert set(TYPES) == set(get_args(VariableType))


@pytest.mark.parametrize(("value_type", "value"), [(kind, value) for kind, (fit, _) in TYPES.items() for value in fit])
def test_what_fits(value_type, value) -> None:
    require_fit("mood", value_type, value)
    assert first_value(DeclaredVariable(name="mood", value_type=value_type, default=value)) == value


@pytest.mark.parametrize(
    ("value_type", "value"), [(kind, value) for kind, (_, unfit) in TYPES.items() for value in unfit]
)
def test_what_does_not_fit(value_type, value) -> None:
    with pytest.raises(VariableTypeError) as refused:
        require_fit("mood", value_type, value)
    assert str(refused.value) == (f"Type mismatch: variable 'mood' expects {value_type}, but got {type_of(value)} type")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "none"),
        ("a", "string"),
        (True, "boolean"),
        (1, "number"),
        (1.5, "number"),
        (REMOTE, "object"),
        ([], "array[any]"),
        (["a"], "array[string]"),
        ([1, 2.5], "array[number]"),
        ([True, False], "array[boolean]"),
        ([{}, REMOTE], "array[object]"),
        ([1, True], "array[any]"),
        ([None], "array[any]"),
        ([[1]], "array[any]"),
        (float("nan"), "unknown"),
        (b"", "unknown"),
    ],
)
def test_the_name_of_what_a_value_is(value, name) -> None:
    assert type_of(value) == name


@pytest.mark.parametrize(
    ("value_type", "empty"),
    [
        ("string", ""),
        ("secret", ""),
        ("number", 0),
        ("boolean", False),
        ("object", {}),
        ("file", None),
        *((kind, []) for kind in TYPES if kind.startswith("array")),
    ],
)
def test_a_variable_without_a_default_is_empty(value_type, empty) -> None:
    first = first_value(DeclaredVariable(name="mood", value_type=value_type))
    assert first == empty
    assert type(first) is type(empty)


def test_variables_that_a_conversation_can_begin_with() -> None:
    validate_variables(
        [DeclaredVariable(name=name) for name in ("a", "A.b-c_9", "x" * 255)]
        + [DeclaredVariable(name="n", value_type="number", default=3)]
    )


REFUSED = {
    "no name": [DeclaredVariable(name="")],
    "a long name": [DeclaredVariable(name="x" * 256)],
    "a name with a blank": [DeclaredVariable(name="a b")],
    "a name in another script": [DeclaredVariable(name="é")],
    "a name that ends its line": [DeclaredVariable(name="a\n")],
    "a name twice": [DeclaredVariable(name="a"), DeclaredVariable(name="a")],
    "a name twice but for its case": [DeclaredVariable(name="mood"), DeclaredVariable(name="Mood")],
    "a default of another type": [DeclaredVariable(name="a", value_type="number", default="3")],
}


@pytest.mark.parametrize("declared", REFUSED.values(), ids=REFUSED)
def test_variables_that_are_refused(declared) -> None:
    with pytest.raises(InvalidInputError) as refused:
        validate_variables(declared)
    assert refused.value.field == "conversation_variables"
    assert repr(declared[-1].name) in str(refused.value) or f"'{declared[-1].name}'" in str(refused.value)


def set_to(name, value):
    return ConversationVariableSet(variable_id=UUID(int=1), value_type="string", name=name, value=value, description="")


STORY = [
    (11, ConversationStarted(app_id=APP, end_user_id=END_USER, hidden=False, name="", inputs={}, introduction="")),
    (12, set_to("mood", "first")),
    (13, set_to("tone", "dry")),
    (20, set_to("mood", "second")),
    (30, set_to("mood", "third")),
]


@pytest.mark.parametrize(
    ("cut", "mood"), [(0, "first"), (12, "first"), (19, "first"), (20, "second"), (29, "second"), (30, "third")]
)
def test_the_variables_at_a_position(cut, mood) -> None:
    assert variables_at(cut, STORY) == {"mood": mood, "tone": "dry"}
