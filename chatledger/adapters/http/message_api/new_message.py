"""What a caller sends: the two bodies, field by field."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from chatledger.adapters.http.bodies import Body, flag_field, text_field
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.openapi import OptionalId, User
from chatledger.adapters.http.reading import parse_uuid
from chatledger.application.accepting import accept_on_busy
from chatledger.application.commands.new_message import NewMessage
from chatledger.application.files.attaching import FileReference
from chatledger.domain.values import AppMode, OnBusy, OnDisconnect

ResponseMode = Literal["blocking", "streaming", "async"]


class ChatMessageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A question in a chat. Values for the app's declared variables go into ``inputs``."""

    inputs: dict[str, Any]
    query: Annotated[str, msgspec.Meta(min_length=1)]
    user: User
    response_mode: ResponseMode | None = "blocking"
    on_disconnect: OnDisconnect | None = "continue"
    conversation_id: OptionalId | None = None
    parent_message_id: OptionalId | None = None
    on_busy: OnBusy | None = None
    files: list[FileReference] | None = None
    auto_generate_name: bool | None = True
    trace_id: str | None = None


class CompletionMessageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to make a text of."""

    inputs: dict[str, Any]
    query: str | None = ""
    user: User
    response_mode: ResponseMode | None = "blocking"
    on_disconnect: OnDisconnect | None = "continue"
    files: list[FileReference] | None = None
    trace_id: str | None = None


def read_chat_message(body: Body, *, parent_id: UUID | None) -> NewMessage:
    """What a chat is asked; after ``parent_id``, where it does not say after what.

    Raises:
        HttpError: a field is not acceptable.
        InvalidParameterError: there is no such ``on_busy``.
    """
    inputs, query = read_inputs(body), text_field(body, "query") or ""
    return NewMessage(
        query=query,
        inputs=inputs,
        files=read_files(body),
        conversation_id=read_conversation_id(body),
        parent_id=_read_id(body, "parent_message_id") or parent_id,
        automatic_name=flag_field(body, "auto_generate_name", default=True),
        on_busy=accept_on_busy(body.get("on_busy")),
    )


def read_completion_message(body: Body) -> NewMessage:
    """What a completion is made of.

    Raises:
        HttpError: a field is not acceptable.
        InvalidParameterError: there is no such ``on_busy``.
    """
    inputs, query = read_inputs(body), text_field(body, "query") or ""
    return NewMessage(query=query, inputs=inputs, files=read_files(body), on_busy=accept_on_busy(body.get("on_busy")))


def read_inputs(body: Body) -> Mapping[str, Any]:
    """The values for the app's declared variables.

    Raises:
        HttpError: there is no object of them.
    """
    inputs = body.get("inputs")
    if not isinstance(inputs, dict):
        raise invalid("inputs", "inputs is required" if inputs is None else "inputs must be an object")
    return inputs


def read_files(body: Body) -> Sequence[object]:
    """References to what goes with the message.

    Raises:
        HttpError: it is no list.
    """
    files = body.get("files")
    if files is not None and not isinstance(files, list):
        raise invalid("files", "files must be a list")
    return files or ()


def read_conversation_id(body: Body) -> UUID | None:
    """The conversation to go on with; None begins one.

    Raises:
        HttpError: it is no UUID.
    """
    return _read_id(body, "conversation_id")


def _read_id(body: Body, field: str) -> UUID | None:
    text = (text_field(body, field) or "").strip()
    return parse_uuid(field, text) if text else None


def read_response_mode(body: Body, mode: AppMode) -> ResponseMode:
    """How the caller wants to be answered; blocking if it does not say.

    Raises:
        HttpError: the word is unknown, or not for this kind of app.
    """
    match body.get("response_mode"):
        case "streaming":
            return "streaming"
        case "async":
            return "async"
        case None | "blocking":
            if mode == "agent-chat":
                raise invalid("response_mode", "Agent Chat App does not support blocking mode")
            return "blocking"
        case _:
            raise invalid("response_mode", "response_mode must be one of: blocking, streaming, async")


def read_on_disconnect(body: Body, mode: ResponseMode) -> OnDisconnect:
    """What becomes of the answer when nobody is connected for it any more; it goes on if the caller does not say.

    Raises:
        HttpError: the word is unknown, or nobody is connected in the first place.
    """
    match body.get("on_disconnect"):
        case None | "continue":
            return "continue"
        case "stop" if mode == "async":
            raise invalid("on_disconnect", "on_disconnect must be continue where response_mode is async")
        case "stop":
            return "stop"
        case _:
            raise invalid("on_disconnect", "on_disconnect must be one of: continue, stop")
