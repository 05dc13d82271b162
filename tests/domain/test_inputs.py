"""What a message may put into an app's variables, and what a form may declare (contract, section 3.4)."""

import pytest

from chatledger.domain.errors import InvalidInputError
from chatledger.domain.inputs import InputVariable, accept_inputs, fill_in, validate_form


def variable(kind="text-input", **more) -> InputVariable:
    return InputVariable(variable="v", type=kind, **more)


A_FILE = {"type": "image", "transfer_method": "remote_url", "url": "https://files.example/a.png"}
TONES = variable("select", options=("kind", "dry"))

ACCEPTED = [
    ("text", variable(), "hi", "hi"),
    ("text without its NUL characters", variable("paragraph"), "\0h\0i", "hi"),
    ("empty text", variable(required=True), "", ""),
    ("text of the greatest length", variable(max_length=2), "𝄞𝄞", "𝄞𝄞"),
    ("text whose length without NUL fits", variable(max_length=2), "a\0b", "ab"),
    ("an option", TONES, "dry", "dry"),
    ("a whole number", variable("number"), 3, 3),
    ("a fraction", variable("number"), 2.5, 2.5),
    ("zero", variable("number", required=True), 0, 0),
    ("a whole number as text", variable("number"), "-12", -12),
    ("a fraction as text", variable("number"), "1.5e3", 1500.0),
    ("a number as text between blanks", variable("number"), " +7\t", 7),
    ("a fraction without digits before the point", variable("number"), "-.5", -0.5),
    ("a fraction without digits after the point", variable("number"), "5.", 5.0),
    ("a number beyond 64 bits", variable("number"), 2**70, 2**70),
    ("empty text for a number is absent", variable("number", default=7.0), "", 7.0),
    ("nothing for an optional variable", variable(), None, None),
    ("the default for nothing", variable(default="x"), None, "x"),
    ("the default as if it had been given", variable("number", default="5"), None, 5),
    ("an empty default, where any text will do", variable("paragraph", default=""), None, ""),
    ("an empty default of a select is none", variable("select", options=("a",), default=""), None, None),
    ("an empty default of a number is none", variable("number", default=""), "", None),
    ("a file", variable("file"), A_FILE, A_FILE),
    ("no file", variable("file"), None, None),
    ("a list of files", variable("file-list", max_length=2), [A_FILE, A_FILE], [A_FILE, A_FILE]),
    ("a tuple of files, as a program has it", variable("file-list"), (A_FILE,), [A_FILE]),
    ("an empty list of files", variable("file-list", required=True), [], []),
    ("an object", variable("json_object"), {"a": [1, None, {"b": 2.5}]}, {"a": [1, None, {"b": 2.5}]}),
    ("an object without its NUL characters", variable("json_object"), {"a\0": ["\0b"]}, {"a": ["b"]}),
    ("an empty object", variable("json_object", required=True), {}, {}),
    ("an object for nothing", variable("json_object", default={"a": 1}), None, {"a": 1}),
    ("a flag", variable("checkbox"), True, True),
    ("a flag that is not set", variable("checkbox", required=True), False, False),
    ("one", variable("checkbox"), 1, True),
    ("nought", variable("checkbox"), 0, False),
    ("one as a fraction", variable("checkbox"), 1.0, True),
    ("nought as a fraction", variable("checkbox"), 0.0, False),
    *((f"the word {word!r}", variable("checkbox"), word, True) for word in ("true", "Yes", "ON", "1")),
    *((f"the word {word!r}", variable("checkbox"), word, False) for word in ("False", "no", "off", "0")),
]


@pytest.mark.parametrize(("declared", "value", "kept"), [pytest.param(*row, id=name) for name, *row in ACCEPTED])
def test_what_is_accepted(declared, value, kept) -> None:
    accepted = accept_inputs([declared], {"v": value})
    assert accepted == {"v": kept}
    assert type(accepted["v"]) is type(kept)


NO_NUMBER = "v in input form must be a valid number"
NO_FLAG = "v in input form must be true or false"
MISSING = "v is required in input form"

NO_JSON = "v in input form must be JSON: "
CANNOT_HOLD = "cannot hold a text of it"


def nested(depth: int) -> dict:
    value: dict = {}
    for _ in range(depth):
        value = {"a": value}
    return value


NO_PLAIN_NUMBERS = ("1_0", "1e1_0", "٣", "\uff11", "0x1", ".", "1e", "- 1", "1,5", " ", "5\0")

REFUSED = [
    ("nothing where something is required", variable(required=True), None, MISSING),
    ("a default fills in for no required value", variable(required=True, default="x"), None, MISSING),
    ("empty text for a required number", variable("number", required=True), "", MISSING),
    ("a number for a text", variable(), 5, "(type 'text-input') v in input form must be a string"),
    ("half a surrogate pair", variable(), "a\ud800", "v in input form must be a text that UTF-8 can hold"),
    ("a list for a paragraph", variable("paragraph"), ["a"], "(type 'paragraph') v in input form must be a string"),
    ("a flag for a select", TONES, True, "(type 'select') v in input form must be a string"),
    ("no option", TONES, "rude", "v in input form must be one of the following: ['kind', 'dry']"),
    ("empty text for a select", TONES, "", "v in input form must be one of the following: ['kind', 'dry']"),
    ("text too long", variable(max_length=2), "abc", "v in input form must be less than 2 characters"),
    ("words for a number", variable("number"), "many", NO_NUMBER),
    ("a flag for a number", variable("number"), True, NO_NUMBER),
    ("an object for a number", variable("number"), {}, NO_NUMBER),
    *((f"{text!r} for a number", variable("number"), text, NO_NUMBER) for text in ("nan", "inf", "-1e999")),
    *((f"{text!r} for a number", variable("number"), text, NO_NUMBER) for text in NO_PLAIN_NUMBERS),
    ("not a number", variable("number"), float("nan"), NO_NUMBER),
    ("the infinite", variable("number"), float("-inf"), NO_NUMBER),
    ("a number past all floats", variable("number"), 10**309, NO_NUMBER),
    ("digits past all floats", variable("number"), "9" * 400, NO_NUMBER),
    ("more digits than an int may have", variable("number"), "9" * 5_000, NO_NUMBER),
    ("a text for a file", variable("file"), "a.png", "v in input form must be a file"),
    ("a list for a file", variable("file"), [A_FILE], "v in input form must be a file"),
    ("nothing for a required file", variable("file", required=True), None, MISSING),
    ("a file for a list of them", variable("file-list"), A_FILE, "v in input form must be a list of files"),
    ("a list of texts for files", variable("file-list"), ["a.png"], "v in input form must be a list of files"),
    ("too many files", variable("file-list", max_length=1), [A_FILE] * 2, "v in input form must be less than 1 files"),
    ("a list for an object", variable("json_object"), [], "v in input form must be a dict"),
    ("JSON text for an object", variable("json_object"), "{}", "v in input form must be a dict"),
    ("half a surrogate pair in an object", variable("json_object"), {"a": "\ud800"}, f"{NO_JSON}UTF-8 {CANNOT_HOLD}"),
    ("the infinite in an object", variable("json_object"), {"a": float("inf")}, f"{NO_JSON}a float is none"),
    ("a set in an object", variable("json_object"), {"a": {1}}, f"{NO_JSON}a set is none"),
    ("a number for a name in an object", variable("json_object"), {1: 2}, f"{NO_JSON}a dict is none"),
    ("an object that is too deep", variable("json_object"), nested(32), f"{NO_JSON}it is nested too deep"),
    ("another word for a flag", variable("checkbox"), "maybe", NO_FLAG),
    ("two for a flag", variable("checkbox"), 2, NO_FLAG),
    ("a fraction for a flag", variable("checkbox"), 0.5, NO_FLAG),
    ("a list for a flag", variable("checkbox"), [], NO_FLAG),
    ("more digits than an int may show, for a flag", variable("checkbox"), 10**5_000, NO_FLAG),
]


@pytest.mark.parametrize(("declared", "value", "reason"), [pytest.param(*row, id=name) for name, *row in REFUSED])
def test_what_is_refused(declared, value, reason) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        accept_inputs([declared], {"v": value})
    assert (refusal.value.field, str(refusal.value)) == ("inputs", reason)


def test_what_is_not_declared_is_dropped_and_what_is_declared_is_always_there() -> None:
    form = [InputVariable(variable="a"), InputVariable(variable="b", default="later")]
    assert accept_inputs(form, {"c": 1, "a": "x"}) == {"a": "x", "b": "later"}


@pytest.mark.parametrize(
    "form",
    [
        pytest.param([], id="no variable"),
        pytest.param([variable(), InputVariable(variable="w"), InputVariable(variable="x")], id="several"),
        pytest.param([variable("select", options=("a",), default="a")], id="a default among the options"),
        pytest.param([variable("select", options=("a",), default="")], id="an empty default"),
        pytest.param([variable("paragraph", max_length=1)], id="the least bound"),
        pytest.param(
            [variable("file-list", max_length=1, allowed_file_types=("image",), allowed_file_extensions=(".png",))],
            id="bounds of files",
        ),
    ],
)
def test_forms_that_stand(form) -> None:
    validate_form(form)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        pytest.param([InputVariable(variable="")], "each variable needs a name of its own: ''", id="no name"),
        pytest.param([variable(), variable()], "each variable needs a name of its own: 'v'", id="one name twice"),
        pytest.param([variable("select")], "v is a select without options", id="a select without options"),
        pytest.param(
            [variable("select", options=("a",), default="b")],
            "the default does not fit: v in input form must be one of the following: ['a']",
            id="a default that is no option",
        ),
        pytest.param(
            [variable("number", default="many")],
            "the default does not fit: v in input form must be a valid number",
            id="a default of another type",
        ),
        *(
            pytest.param(
                [variable(kind, options=("a",))], f"v is a {kind}: only a select has options", id=f"options of a {kind}"
            )
            for kind in ("text-input", "paragraph", "number", "checkbox", "file", "file-list", "json_object")
        ),
        *(
            pytest.param(
                [variable("text-input", **{field: value})],
                f"v is a text-input: only a file or file-list has {field}",
                id=f"{field} of a text",
            )
            for field, value in (
                ("allowed_file_types", ("image",)),
                ("allowed_file_extensions", (".png",)),
                ("allowed_file_upload_methods", ("local_file",)),
            )
        ),
        pytest.param([variable("file", default="a")], "v is a file: it can have no default", id="a default of a file"),
        pytest.param(
            [variable("json_object", default="{}")],
            "the default does not fit: v in input form must be a dict",
            id="a text as the default of an object",
        ),
        *(
            pytest.param(
                [variable(kind, max_length=5, options=options)],
                f"v is a {kind}: only a text-input, paragraph or file-list has max_length",
                id=f"max_length of a {kind}",
            )
            for kind, options in (
                ("select", ("a",)),
                *((kind, ()) for kind in ("number", "checkbox", "file", "json_object")),
            )
        ),
        *(
            pytest.param(
                [variable(max_length=length)], "the max_length of v must be at least 1", id=f"a max_length of {length}"
            )
            for length in (0, -1)
        ),
    ],
)
def test_forms_that_contradict_themselves(form, reason) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        validate_form(form)
    assert (refusal.value.field, str(refusal.value)) == ("user_input_form", reason)


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("Hi {{name}}!", "Hi Ada!"),
        ("{{ name }} is {{age}}", "Ada is 36"),
        ("{{unknown}} stays", "{{unknown}} stays"),
        ("{{nothing}} is empty", " is empty"),
        ("{{tricky}}", "{{name}}"),
    ],
)
def test_inputs_fill_the_places_of_a_template(template, filled):
    inputs = {"name": "Ada", "age": 36, "nothing": None, "tricky": "{{name}}"}
    assert fill_in(template, inputs) == filled
