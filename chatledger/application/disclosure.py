"""What of an event is whose to read: operators see what happened, apps what their configuration and the wire show."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from chatledger.application.caller import Caller, Reader
from chatledger.application.generation.failures import INTERNAL_MESSAGE
from chatledger.application.ledger.envelope import Envelope
from chatledger.domain.events import (
    ApiKeyIssued,
    AppConfigured,
    EndpointRegistered,
    EndpointSecretRotated,
    EndUserSeen,
    GenerationRequeued,
    LegalHoldPlaced,
    MessageCreated,
    MessageErrored,
    ResourcesRetrieved,
)
from chatledger.domain.visibility import visibilities

_GENERATION_MESSAGES: Mapping[str, str] = {
    "provider_not_initialize": (
        "No valid model provider credentials found. "
        "Please go to Settings -> Model Provider to complete your provider credentials."
    ),
    "provider_quota_exceeded": "The quota of the model provider has been exhausted.",
    "completion_request_error": "Completion request failed.",
}

_NAMES_A_VARIABLE = re.compile(r"environment|_env\b|[A-Z0-9]_[A-Z0-9]")
"""What gives away that a text speaks of the server's environment."""


def generation_message(code: str | None, reason: str) -> str:
    """What a caller is told about a failed generation: the provider's own words, but never our own internals."""
    if code == "internal_server_error":
        return INTERNAL_MESSAGE
    if code == "provider_not_initialize" and _NAMES_A_VARIABLE.search(reason):
        return _GENERATION_MESSAGES[code]
    return reason or _GENERATION_MESSAGES.get(code or "", "")


def shows_resources(reader: Reader) -> bool:
    """Whether the passages behind an answer are for this reader: apps may hide them."""
    return not isinstance(reader, Caller) or reader.app.configuration.retriever_resource


def error_text(reader: Reader, code: str | None, text: str | None) -> str | None:
    """Why a generation failed: to an app in the words of its stream."""
    return generation_message(code, text) if isinstance(reader, Caller) and text is not None else text


def event_data(reader: Reader, envelope: Envelope) -> Any:
    """What an event says to this reader; of one that was erased what is public, and nothing in place of the rest."""
    data = _shown(reader, envelope.body)
    if not envelope.is_erased:
        return data
    shown = data if isinstance(data, dict) else msgspec.structs.asdict(data)
    kinds = visibilities(type(envelope.body))
    return {name: value for name, value in shown.items() if kinds[name] == "public"}


def _shown(reader: Reader, body: Any) -> Any:  # noqa: PLR0911 - one case for each event type
    """An event, without the fields that are not for this reader. What signs for an endpoint is for none."""
    if isinstance(body, EndpointRegistered | EndpointSecretRotated):
        return _without(body, "secret", "previous")
    if not isinstance(reader, Caller):
        return body
    match body:
        case MessageCreated():
            return _without(body, "parameters")
        case ResourcesRetrieved() if not shows_resources(reader):
            return _without(body, "resources")
        case MessageErrored():
            return msgspec.structs.replace(body, message=generation_message(body.code, body.message))
        case GenerationRequeued():
            return msgspec.structs.replace(body, detail=generation_message(body.cause, body.detail))
        case AppConfigured():
            return _without(body, "configuration")
        case ApiKeyIssued():
            return _without(body, "key_hash")
        case EndUserSeen():
            return _without(body, "lookup")
        case LegalHoldPlaced():
            return _without(body, "reason")
        case _:
            return body


def _without(body: msgspec.Struct, *hidden: str) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(body).items() if name not in hidden}
