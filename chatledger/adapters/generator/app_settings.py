"""An app's settings for its generator, checked against their declaration."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from chatledger.application.ports.generator import SettingsError

S = TypeVar("S", bound=msgspec.Struct)


def read_settings(declaration: type[S], settings: Mapping[str, Any]) -> S:
    """The settings as their declaration has them. Numbers may be written as text, as a command line gives them.

    Raises:
        SettingsError: a name is unknown or missing, or a value impossible; the text begins with the name if it can.
    """
    try:
        return msgspec.convert(dict(settings), declaration, strict=False)
    except msgspec.ValidationError as error:
        reason, found, place = str(error).rpartition(" - at `$.")
        raise SettingsError(f"{place.rstrip('`')}: {reason}" if found else str(error)) from error
