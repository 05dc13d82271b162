"""The variables of a conversation: what an app may declare, and what each type holds."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal, get_args
from uuid import UUID

from chatledger.domain.configuration import DeclaredVariable
from chatledger.domain.errors import InvalidInputError, VariableTypeError
from chatledger.domain.events import ConversationVariableSet, Event
from chatledger.domain.values import FileKind, Json, VariableType

VARIABLE_NAME = r"[A-Za-z0-9_.-]{1,255}"
"""The whole of a name, as a regular expression."""

_NAME = re.compile(VARIABLE_NAME)
_FILE_KINDS = get_args(FileKind)
_ITEM_TYPES: Mapping[VariableType, VariableType] = {
    "array[string]": "string",
    "array[number]": "number",
    "array[boolean]": "boolean",
    "array[object]": "object",
    "array[file]": "file",
}
_PLAIN_TYPES: Sequence[VariableType] = ("boolean", "number", "string", "object")

FoundType = VariableType | Literal["none", "unknown"]
"""What a value is: a variable's type, ``none`` for null, ``unknown`` for what JSON does not have."""


def is_variable_name(text: str) -> bool:
    """Whether a variable may have this name: 1 to 255 letters, digits, hyphens, underscores and dots of ASCII."""
    return _NAME.fullmatch(text) is not None


def validate_variables(declared: Iterable[DeclaredVariable]) -> None:
    """Refuse variables that no conversation could begin with.

    Raises:
        InvalidInputError: a name is malformed or, but for its case, given twice, or a default is not of its type.
    """
    seen: set[str] = set()
    for variable in declared:
        name = variable.name.lower()
        if not is_variable_name(name) or name in seen:
            raise _refuse(f"each variable needs a well-formed name of its own: {variable.name!r}")
        try:
            first_value(variable)
        except VariableTypeError as error:
            raise _refuse(f"the default does not fit: {error}") from error
        seen.add(name)


def _refuse(reason: str) -> InvalidInputError:
    return InvalidInputError("conversation_variables", reason)


def first_value(declared: DeclaredVariable) -> Json:
    """What a variable holds before anybody sets it: its default or, without one, what is empty in its type.

    Raises:
        VariableTypeError: the default is of another type.
    """
    if declared.default is None:
        return _empty(declared.value_type)
    require_fit(declared.name, declared.value_type, declared.default)
    return declared.default


def _empty(value_type: VariableType) -> Json:
    match value_type:
        case "string" | "secret":
            return ""
        case "number":
            return 0
        case "boolean":
            return False
        case "object":
            return dict[str, Json]()
        case "file":
            return None
        case _:
            return list[Json]()


def require_fit(name: str, value_type: VariableType, value: Json) -> None:
    """Let only values of a variable's type pass.

    Raises:
        VariableTypeError: it is of another type.
    """
    if not fits(value_type, value):
        found = type_of(value)
        raise VariableTypeError(f"Type mismatch: variable '{name}' expects {value_type}, but got {found} type")


def fits(value_type: VariableType, value: Json) -> bool:
    """Whether a variable of that type can hold this value."""
    match value_type:
        case "string" | "secret":
            return isinstance(value, str)
        case "number":
            return _is_number(value)
        case "boolean":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case "file":
            return _is_file(value)
        case _:
            return isinstance(value, list) and all(_fits_in(value_type, item) for item in value)


def _fits_in(array_type: VariableType, item: Json) -> bool:
    item_type = _ITEM_TYPES.get(array_type)
    return item_type is None or fits(item_type, item)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_file(value: Json) -> bool:
    """Whether it describes a file as a message's ``files`` do."""
    match value:
        case {"type": kind, "transfer_method": "remote_url", "url": str()}:
            return kind in _FILE_KINDS
        case {"type": kind, "transfer_method": "local_file", "upload_file_id": str()}:
            return kind in _FILE_KINDS
        case _:
            return False


def stored_files(value_type: VariableType, value: Json) -> Iterator[UUID]:
    """The uploads that a variable of this type names: with a value of that type, or with none."""
    given = value if isinstance(value, list) else [value]
    for file in given if value_type in {"file", "array[file]"} else ():
        if isinstance(file, dict) and file["transfer_method"] == "local_file":
            with suppress(ValueError):  # a default is free to name what never was
                yield UUID(str(file["upload_file_id"]))


def type_of(value: Json) -> FoundType:
    """What a value is by itself. A file cannot be told from an object, nor a secret from a string."""
    if value is None:
        return "none"
    for plain_type in _PLAIN_TYPES:
        if fits(plain_type, value):
            return plain_type
    if not isinstance(value, list):
        return "unknown"
    for array_type in _ITEM_TYPES:
        if value and fits(array_type, value):
            return array_type
    return "array[any]"


def variables_at(cut: int, events: Iterable[tuple[int, Event]]) -> dict[str, Json]:
    """The variables of a conversation by name, as they stood at a ledger position.

    What a variable began with counts whatever the position: a conversation begins together with its first message.
    """
    found: dict[str, Json] = {}
    for position, body in events:
        if isinstance(body, ConversationVariableSet) and (position <= cut or body.name not in found):
            found[body.name] = body.value
    return found
