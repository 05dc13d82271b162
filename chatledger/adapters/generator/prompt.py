"""The prompt: what a generator is asked, made from what the end user gave."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from chatledger.application.ports.generator import GenerationRequest

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")


def question_of(request: GenerationRequest) -> str:
    """The query or, where a completion app has none, the values of its inputs, one to a line."""
    if request.query or request.mode != "completion":
        return request.query
    return "\n".join(text for value in request.inputs.values() if (text := _as_text(value)))


def fill(template: str, inputs: Mapping[str, Any]) -> str:
    """Put inputs into their ``{{variable}}`` places; a name that is not among them stays as it is written."""

    def value_of(place: re.Match[str]) -> str:
        name = place[1]
        return _as_text(inputs[name]) if name in inputs else place[0]

    return _PLACEHOLDER.sub(value_of, template)


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
