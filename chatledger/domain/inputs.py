"""The variables that an app declares, and what a message may put into them."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, assert_never

import msgspec

from chatledger.domain.errors import InvalidInputError
from chatledger.domain.values import FileKind

InputType = Literal["text-input", "paragraph", "select", "number", "checkbox", "file", "file-list", "json_object"]
UploadMethod = Literal["remote_url", "local_file"]

_FLAG_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_FREE_TEXT = ("text-input", "paragraph")
_FILES = ("file", "file-list")
_BOUNDED = (*_FREE_TEXT, "file-list")
_DEEPEST_JSON = 32
_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")


class InputVariable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One declared variable.

    Attributes:
        variable: its name.
        label: what a client shows for the name.
        hide: whether a client leaves it out of the form that it draws.
        max_length: of a free text in characters, of a list of files in files.
        default: what an absent value becomes; files have none.
        options: what a select can be.
        allowed_file_types: the kinds that a file may be of; any kind where there are none.
        allowed_file_extensions: what a file's name may end in, each with its dot; anything where there are none.
        allowed_file_upload_methods: the ways that a file may be given; any way where there are none.
    """

    variable: str
    type: InputType = "text-input"
    label: str = ""
    description: str = ""
    hide: bool = False
    required: bool = False
    max_length: int | None = None
    default: str | int | float | bool | dict[str, Any] | None = None
    options: tuple[str, ...] = ()
    allowed_file_types: tuple[FileKind, ...] = ()
    allowed_file_extensions: tuple[str, ...] = ()
    allowed_file_upload_methods: tuple[UploadMethod, ...] = ()


def validate_form(form: Iterable[InputVariable]) -> None:
    """Refuse a form that contradicts itself.

    Raises:
        InvalidInputError: a name is missing or given twice, a variable has what its type does not have or lacks what it
            needs, or a default does not fit.
    """
    seen: set[str] = set()
    for variable in form:
        if not variable.variable or variable.variable in seen:
            raise InvalidInputError("user_input_form", f"each variable needs a name of its own: {variable.variable!r}")
        _require_fitting_bounds(variable)
        try:
            _accept_default(variable)
        except InvalidInputError as error:
            raise InvalidInputError("user_input_form", f"the default does not fit: {error}") from error
        seen.add(variable.variable)


_BELONGS_TO = {
    "options": (("select",), "a select"),
    "max_length": (_BOUNDED, "a text-input, paragraph or file-list"),
    "allowed_file_types": (_FILES, "a file or file-list"),
    "allowed_file_extensions": (_FILES, "a file or file-list"),
    "allowed_file_upload_methods": (_FILES, "a file or file-list"),
}
"""Fields that only some types have."""


def _require_fitting_bounds(variable: InputVariable) -> None:
    name, kind = variable.variable, variable.type
    for field, (kinds, words) in _BELONGS_TO.items():
        if kind not in kinds and getattr(variable, field) not in {(), None}:
            raise InvalidInputError("user_input_form", f"{name} is a {kind}: only {words} has {field}")
    if kind == "select" and not variable.options:
        raise InvalidInputError("user_input_form", f"{name} is a select without options")
    if variable.max_length is not None and variable.max_length < 1:
        raise InvalidInputError("user_input_form", f"the max_length of {name} must be at least 1")
    if kind in _FILES and variable.default is not None:
        raise InvalidInputError("user_input_form", f"{name} is a {kind}: it can have no default")


def accept_inputs(form: Iterable[InputVariable], given: Mapping[str, Any]) -> dict[str, Any]:
    """The declared variables with the given values; what is not declared is dropped.

    Of files only the form is looked at: whose they are, and of what kind, the ledger knows.

    Raises:
        InvalidInputError: a value does not fit its declaration.
    """
    return {variable.variable: _accept(variable, given.get(variable.variable)) for variable in form}


def _accept(variable: InputVariable, value: Any) -> Any:
    if value is None or (value == "" and variable.type == "number"):
        if variable.required:
            raise _refuse(variable, "is required in input form")
        return _accept_default(variable)
    return _accept_value(variable, value)


def _accept_default(variable: InputVariable) -> Any:
    """The default as if it had been given; empty text is none, but where any text will do."""
    default = variable.default
    if default is None or (default == "" and variable.type not in _FREE_TEXT):
        return None
    return _accept_value(variable, default)


def _accept_value(variable: InputVariable, value: Any) -> Any:
    match variable.type:
        case "text-input" | "paragraph" | "select":
            return _accept_text(variable, value)
        case "number":
            return _accept_number(variable, value)
        case "checkbox":
            return _accept_flag(variable, value)
        case "file":
            return _accept_file(variable, value)
        case "file-list":
            return _accept_files(variable, value)
        case "json_object":
            return _accept_object(variable, value)
        case _:
            assert_never(variable.type)


def _accept_text(variable: InputVariable, value: Any) -> str:
    if not isinstance(value, str):
        reason = f"(type '{variable.type}') {variable.variable} in input form must be a string"
        raise InvalidInputError("inputs", reason)
    text = value.replace("\0", "")
    if not is_storable(text):
        raise _refuse(variable, "in input form must be a text that UTF-8 can hold")
    if variable.type == "select" and text not in variable.options:
        raise _refuse(variable, f"in input form must be one of the following: {list(variable.options)}")
    if variable.max_length is not None and len(text) > variable.max_length:
        raise _refuse(variable, f"in input form must be less than {variable.max_length} characters")
    return text


def _accept_number(variable: InputVariable, value: Any) -> int | float:
    number = _parse(value) if isinstance(value, str) else value
    if isinstance(number, int | float) and not isinstance(number, bool) and abs(number) <= sys.float_info.max:
        return number
    raise _refuse(variable, "in input form must be a valid number")


def _parse(text: str) -> int | float | None:
    """A number in plain decimal notation; Python itself would take more."""
    digits = text.strip()
    if not _DECIMAL.fullmatch(digits):
        return None
    try:
        return int(digits) if _WHOLE.fullmatch(digits) else float(digits)
    except ValueError:  # more digits than Python reads into an int
        return None


def _accept_flag(variable: InputVariable, value: Any) -> bool:
    flag = read_flag(value)
    if flag is None:
        raise _refuse(variable, "in input form must be true or false")
    return flag


def _accept_file(variable: InputVariable, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse(variable, "in input form must be a file")
    return value


def _accept_files(variable: InputVariable, value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _refuse(variable, "in input form must be a list of files")
    if not all(isinstance(entry, Mapping) for entry in value):
        raise _refuse(variable, "in input form must be a list of files")
    if variable.max_length is not None and len(value) > variable.max_length:
        raise _refuse(variable, f"in input form must be less than {variable.max_length} files")
    return list(value)


def _accept_object(variable: InputVariable, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse(variable, "in input form must be a dict")
    try:
        clean: dict[str, Any] = clean_json(value)
    except ValueError as error:
        raise _refuse(variable, f"in input form must be JSON: {error}") from error
    return clean


def clean_json(value: Any, depth: int = _DEEPEST_JSON) -> Any:
    """A JSON value whose texts have no NUL characters.

    Raises:
        ValueError: it is no JSON, nests deeper than ``depth``, or holds text that UTF-8 cannot.
    """
    if not depth:
        raise ValueError("it is nested too deep")
    match value:
        case None | bool():
            return value
        case str():
            text = value.replace("\0", "")
            if is_storable(text):
                return text
            raise ValueError("UTF-8 cannot hold a text of it")
        case int() | float() if abs(value) <= sys.float_info.max:
            return value
        case [*_]:
            return [clean_json(entry, depth - 1) for entry in value]
        case Mapping() if all(isinstance(name, str) for name in value):
            return {clean_json(name, depth): clean_json(entry, depth - 1) for name, entry in value.items()}
        case _:
            raise ValueError(f"a {type(value).__name__} is none")


def is_storable(text: str) -> bool:
    """Whether UTF-8 can hold a text: all but half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_flag(value: Any) -> bool | None:
    """A boolean in any of its usual spellings: itself, 1 or 0, or a word for it; None for anything else."""
    if isinstance(value, str):
        return _FLAG_WORDS.get(value.lower())
    return bool(value) if isinstance(value, int | float) and value in {0, 1} else None


def _refuse(variable: InputVariable, reason: str) -> InvalidInputError:
    return InvalidInputError("inputs", f"{variable.variable} {reason}")


def fill_in(template: str, inputs: Mapping[str, Any]) -> str:
    """Put inputs into their ``{{variable}}`` places; a name that is not among them stays as it is written."""

    def value_of(place: re.Match[str]) -> str:
        return input_text(inputs[place[1]]) if place[1] in inputs else place[0]

    return _PLACEHOLDER.sub(value_of, template)


def input_text(value: object) -> str:
    """An input as text; one without a value is empty."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
