"""What of a message is whose to read: operators see all of it, apps what their configuration and the wire show."""

from typing import Any

import msgspec

from chatledger.adapters.http.errors import generation_message
from chatledger.application.caller import Caller, Reader
from chatledger.domain.events import GenerationRequeued, MessageCreated, MessageErrored, ResourcesRetrieved


def shows_resources(reader: Reader) -> bool:
    """Whether the passages behind an answer are for this reader: apps may hide them."""
    return not isinstance(reader, Caller) or reader.app.configuration.retriever_resource


def error_text(reader: Reader, code: str | None, text: str | None) -> str | None:
    """Why a generation failed: to an app in the words of its stream."""
    return generation_message(code, text) if isinstance(reader, Caller) and text is not None else text


def event_data(reader: Reader, body: Any) -> Any:
    """An event, without the fields that are not for this reader."""
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
        case _:
            return body


def _without(body: msgspec.Struct, hidden: str) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(body).items() if name != hidden}
