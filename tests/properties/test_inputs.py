"""Whatever is declared and whatever is given: what is kept is declared, clean, storable and stable."""

import math
from collections.abc import Iterable
from typing import Any, get_args

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.domain.errors import InvalidInputError
from chatledger.domain.inputs import InputType, InputVariable, accept_inputs, validate_form

NAMES = ("a", "b", "c")
# Not st.text: that would draw evenly from all characters, and hardly ever a NUL.
texts = st.lists(st.sampled_from("ab\0𝄞 ") | st.characters(codec="utf-8"), max_size=6).map("".join)
number_texts = st.sampled_from(
    ("", "5", "-2.5", "1e3", "nan", "-inf", "1e999", "9" * 400, "9" * 5000, " 7 ", "0x1", "1_0", "٣")
)
flag_texts = st.sampled_from(("true", "FALSE", "Yes", "no", "on", "off", "1", "0"))
numbers = st.integers() | st.floats() | st.sampled_from((10**308, 10**309, -(10**5000), 0, 1))
scalars = st.none() | st.booleans() | numbers | texts | number_texts | flag_texts
given_values = st.deferred(lambda: plain_values | files | st.lists(files, max_size=3) | json_objects)
plain_values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(texts, scalars, max_size=2)
defaults = st.none() | texts | number_texts | flag_texts | st.floats() | st.booleans()


BOUNDED = {"text-input", "paragraph", "file-list"}
files = st.fixed_dictionaries({"type": st.just("image"), "transfer_method": st.just("remote_url"), "url": texts})
json_objects = st.dictionaries(
    texts,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**300), 10**300)
        | st.floats(allow_nan=False, allow_infinity=False)
        | texts,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)


@st.composite
def variables(draw: st.DrawFn, name: str) -> InputVariable:
    kind = draw(st.sampled_from(get_args(InputType)))
    return InputVariable(
        variable=name,
        type=kind,
        required=draw(st.booleans()),
        max_length=draw(st.none() | st.integers(1, 6)) if kind in BOUNDED else None,
        default=None if kind in {"file", "file-list"} else draw(json_objects if kind == "json_object" else defaults),
        options=("", *draw(st.lists(texts, max_size=3))) if kind == "select" else (),
    )


def stands(form: tuple[InputVariable, ...]) -> bool:
    try:
        validate_form(form)
    except InvalidInputError:
        return False
    return True


# One variable at a time may fail, so each is kept only if it stands by itself: the forms stay rich.
standing = st.tuples(*(variables(name).filter(lambda one: stands((one,))) for name in NAMES))
forms = st.tuples(standing, st.integers(0, len(NAMES))).map(lambda drawn: drawn[0][: drawn[1]])


def fitting(  # noqa: PLR0911 - one return for each type
    variable: InputVariable,
) -> st.SearchStrategy[Any]:
    """Values that the contract accepts for this variable."""
    match variable.type:
        case "number":
            finite = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
            return finite | finite.map(str)
        case "checkbox":
            return st.booleans() | st.sampled_from((0, 1, 0.0, 1.0)) | flag_texts
        case "select":
            return st.sampled_from([option for option in variable.options if "\0" not in option])
        case "file":
            return files
        case "file-list":
            return st.lists(files, max_size=min(3, variable.max_length or 3))
        case "json_object":
            return json_objects
        case _:
            return texts.map(lambda text: text[: variable.max_length])


def outcome(form: Iterable[InputVariable], given_inputs: dict[str, Any]) -> dict[str, Any] | InvalidInputError:
    try:
        return accept_inputs(form, given_inputs)
    except InvalidInputError as refusal:
        return refusal


@settings(max_examples=120, deadline=None)
@given(form=forms, values=st.dictionaries(st.sampled_from((*NAMES, "d", "A", "")), given_values))
def test_whatever_is_given_is_refused_or_kept_clean(form, values) -> None:
    kept = outcome(form, values)
    if isinstance(kept, InvalidInputError):
        assert kept.field == "inputs"
        assert any(f"{variable.variable} in input form" in str(kept) or is_missing(variable, kept) for variable in form)
    else:
        assert list(kept) == [variable.variable for variable in form]
        assert [variable for variable in form if not is_what_was_declared(variable, kept[variable.variable])] == []


def is_missing(variable: InputVariable, refusal: InvalidInputError) -> bool:
    return variable.required and str(refusal) == f"{variable.variable} is required in input form"


def is_what_was_declared(  # noqa: PLR0911 - one return for each type
    variable: InputVariable, value: Any
) -> bool:
    if value is None:
        return not variable.required
    match variable.type:
        case "number":
            return type(value) in {int, float} and math.isfinite(value)
        case "checkbox":
            return type(value) is bool
        case "file":
            return isinstance(value, dict)
        case "file-list":
            return len(value) <= (variable.max_length or len(value)) and all(isinstance(one, dict) for one in value)
        case "json_object":
            return isinstance(value, dict) and b"\\u0000" not in msgspec.json.encode(value)
        case kind:
            fits = variable.max_length is None or len(value) <= variable.max_length
            return type(value) is str and "\0" not in value and fits and (kind != "select" or value in variable.options)


def one_value_for_each(form: tuple[InputVariable, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({variable.variable: fitting(variable) for variable in form})


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_fits_is_kept_the_same_again_and_survives_storage(data) -> None:
    form = data.draw(forms)
    kept = accept_inputs(form, data.draw(one_value_for_each(form)))
    assert accept_inputs(form, kept) == kept
    stored = msgspec.json.decode(msgspec.json.encode(kept))
    assert stored == kept
    assert accept_inputs(form, stored) == kept


@settings(max_examples=60, deadline=None)
@given(form=forms, extra=st.dictionaries(st.text(min_size=2, max_size=4), given_values, max_size=4))
def test_what_is_not_declared_changes_nothing(form, extra) -> None:
    assert str(outcome(form, extra)) == str(outcome(form, {}))


@settings(max_examples=60, deadline=None)
@given(form=forms)
def test_in_a_form_that_stands_only_what_is_required_can_be_missing(form) -> None:
    missing = [variable.variable for variable in form if variable.required]
    kept = outcome(form, {})
    if missing:
        assert str(kept) == f"{missing[0]} is required in input form"
    else:
        assert accept_inputs(form, kept) == kept


@settings(max_examples=120, deadline=None)
@given(value=texts, limit=st.integers(1, 6), kind=st.sampled_from(("text-input", "paragraph")))
def test_a_text_is_kept_whole_without_nul_exactly_if_it_fits(value, limit, kind) -> None:
    clean = "".join(character for character in value if ord(character))
    kept = outcome([InputVariable(variable="a", type=kind, max_length=limit)], {"a": value})
    if len(clean) <= limit:
        assert kept == {"a": clean}
    else:
        assert str(kept) == f"a in input form must be less than {limit} characters"


@settings(max_examples=120, deadline=None)
@given(value=numbers | number_texts.filter(bool) | texts.filter(bool))
def test_a_number_is_kept_exactly_if_it_is_finite_and_plain(value) -> None:
    kept = outcome([InputVariable(variable="a", type="number")], {"a": value})
    if is_plain(value) and is_finite(value):
        assert type(kept["a"]) in {int, float}
        assert kept["a"] == (value if not isinstance(value, str) else float(value))
    else:
        assert str(kept) == "a in input form must be a valid number"


def is_plain(value: Any) -> bool:
    return not isinstance(value, str) or (value.strip().isascii() and "_" not in value)


def is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False


@settings(max_examples=120, deadline=None)
@given(value=st.booleans() | st.integers(-2, 3) | st.floats() | flag_texts | texts)
def test_a_flag_is_kept_exactly_if_it_is_one_of_the_words_for_it(value) -> None:
    kept = outcome([InputVariable(variable="a", type="checkbox")], {"a": value})
    word = {1.0: "1", 0.0: "0"}.get(value, "") if isinstance(value, float) else str(value).lower()
    if word in {"true", "yes", "on", "1"}:
        assert kept["a"] is True
    elif word in {"false", "no", "off", "0"}:
        assert kept["a"] is False
    else:
        assert str(kept) == "a in input form must be true or false"
