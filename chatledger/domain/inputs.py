"""The variables that an app declares, and what a message may put into them."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, assert_never

import msgspec

from chatledger.domain.errors import InvalidInputError

InputType = Literal["text-input", "paragraph", "select", "number", "checkbox"]

_TRUE_WORDS = frozenset(("true", "yes", "on", "1"))
_FALSE_WORDS = frozenset(("false", "no", "off", "0"))


class InputVariable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One declared variable. ``max_length`` counts characters; ``options`` belong to a select."""

    variable: str
    type: InputType = "text-input"
    label: str = ""
    required: bool = False
    max_length: int | None = None
    default: str | float | bool | None = None
    options: tuple[str, ...] = ()


def validate_form(form: Iterable[InputVariable]) -> None:
    """Refuse a form that contradicts itself.

    Raises:
        InvalidInputError: a name is missing or given twice, or a select has no options.
    """
    seen: set[str] = set()
    for variable in form:
        if not variable.variable or variable.variable in seen:
            raise InvalidInputError("user_input_form", f"each variable needs a name of its own: {variable.variable!r}")
        if variable.type == "select" and not variable.options:
            raise InvalidInputError("user_input_form", f"{variable.variable} is a select without options")
        seen.add(variable.variable)


def accept_inputs(form: Iterable[InputVariable], given: Mapping[str, Any]) -> dict[str, Any]:
    """The declared variables with the given values; what is not declared is dropped.

    Raises:
        InvalidInputError: a value does not fit its declaration.
    """
    return {variable.variable: _accept(variable, given.get(variable.variable)) for variable in form}


def _accept(variable: InputVariable, value: Any) -> Any:
    if variable.type == "number" and value == "":
        value = None
    if value is None:
        if variable.required and variable.default is None:
            raise _refuse(variable, "is required in input form")
        return variable.default
    match variable.type:
        case "text-input" | "paragraph" | "select":
            return _accept_text(variable, value)
        case "number":
            return _accept_number(variable, value)
        case "checkbox":
            return _accept_flag(variable, value)
        case _:
            assert_never(variable.type)


def _accept_text(variable: InputVariable, value: Any) -> str:
    if not isinstance(value, str):
        reason = f"(type '{variable.type}') {variable.variable} in input form must be a string"
        raise InvalidInputError("inputs", reason)
    text = value.replace("\0", "")
    if variable.type == "select" and text not in variable.options:
        raise _refuse(variable, f"in input form must be one of the following: {list(variable.options)}")
    if variable.max_length is not None and len(text) > variable.max_length:
        raise _refuse(variable, f"in input form must be less than {variable.max_length} characters")
    return text


def _accept_number(variable: InputVariable, value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        for parse in (int, float):
            try:
                number = parse(value)
            except ValueError:
                continue
            if math.isfinite(number):
                return number
    raise _refuse(variable, "in input form must be a valid number")


def _accept_flag(variable: InputVariable, value: Any) -> bool:
    word = str(value).lower() if isinstance(value, bool | int | str) else ""
    if word in _TRUE_WORDS or word in _FALSE_WORDS:
        return word in _TRUE_WORDS
    raise _refuse(variable, "in input form must be true or false")


def _refuse(variable: InputVariable, reason: str) -> InvalidInputError:
    return InvalidInputError("inputs", f"{variable.variable} {reason}")
