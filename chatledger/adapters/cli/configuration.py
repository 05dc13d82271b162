"""An app's configuration as TOML: read, changed field by field, and written."""

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from chatledger.adapters.cli.console import WRONG_USAGE, CommandFailedError, is_hidden
from chatledger.domain.configuration import AppConfiguration

_PLACE = re.compile(r"(?P<reason>.*?)(?: - at `(?P<key>key in )?\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)


class ImpossibleConfigurationError(ValueError):
    """A field is unknown, or cannot be what was given.

    Attributes:
        field: its name, with those of the tables that it is in.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field or "configuration"


def read_fields(file: Path) -> dict[str, Any]:
    """The fields of a configuration that a TOML file gives.

    Raises:
        CommandFailedError: it cannot be read, or holds what no configuration can hold.
    """
    try:
        fields = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CommandFailedError(f"{file}: {error}", WRONG_USAGE) from error
    try:
        # A generator is the one field that has to be there, though not in a file that changes another.
        convert_fields({"generator": ""} | fields)
    except ImpossibleConfigurationError as error:
        raise CommandFailedError(f"{file}: {error}", WRONG_USAGE) from error
    return fields


def convert_fields(fields: Mapping[str, Any]) -> AppConfiguration:
    """A configuration of these fields; what is left out is as it is by default.

    Raises:
        ImpossibleConfigurationError: a field is unknown, or of a type or size that it cannot be.
    """
    _require_json(fields, "")
    try:
        return msgspec.convert(fields, AppConfiguration)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from error


def _require_json(value: object, place: str) -> None:
    """TOML knows dates, times and numbers that JSON, in which a configuration is stored, does not."""
    match value:
        case Mapping():
            for name, entry in value.items():
                _require_json(entry, f"{place}.{name}" if place else name)
        case list() | tuple():
            for number, entry in enumerate(value, 1):
                _require_json(entry, f"{place}[{number}]")
        case None | bool() | int() | str():
            pass
        case float() if math.isfinite(value):
            pass
        case float():
            raise ImpossibleConfigurationError(place, "must be a finite number")
        case _:
            raise ImpossibleConfigurationError(place, f"a {type(value).__name__} must be written as a string")


def _named(problem: str) -> ImpossibleConfigurationError:
    parts = _PLACE.fullmatch(problem)
    reason, path = (parts["reason"], parts["path"] or "") if parts else (problem, "")
    unknown = _UNKNOWN.fullmatch(reason)
    if unknown:
        return ImpossibleConfigurationError(f"{path}.{unknown['name']}" if path else unknown["name"], "no such field")
    return ImpossibleConfigurationError(path, reason)


def merged(before: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a configuration with others laid over them: in a part of it, what is not named stays."""
    return _merged(AppConfiguration, before, fields)


def _merged(part: type, before: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    inner = {field.name: field.type for field in msgspec.structs.fields(part) if _is_part(field.type)}
    result = dict(before)
    for name, value in fields.items():
        if name in inner and isinstance(value, Mapping):
            result[name] = _merged(inner[name], before.get(name, {}), value)
        else:
            result[name] = value
    return result


def _is_part(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def as_toml(configuration: AppConfiguration) -> str:
    """A file that configures the same. What is None is left out, as TOML has no word for it.

    Raises:
        ImpossibleConfigurationError: the generator's settings hold a list with nothing in one of its places.
    """
    written = tomli_w.dumps(_without_none(msgspec.to_builtins(configuration), ""))
    return "".join(_escaped(character) for character in written)


def _without_none(value: Any, place: str) -> Any:
    match value:
        case dict():
            return {name: _without_none(entry, f"{place}.{name}") for name, entry in value.items() if entry is not None}
        case list() | tuple():
            return [_without_none(entry, f"{place}[{number}]") for number, entry in enumerate(value, 1)]
        case None:
            raise ImpossibleConfigurationError(place.lstrip("."), "TOML has no word for nothing")
        case _:
            return value


def _escaped(character: str) -> str:
    """What a terminal would obey, as TOML writes it in a string; outside of one stand line breaks alone."""
    if character == "\n" or not is_hidden(character):
        return character
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"
