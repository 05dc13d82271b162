"""The two send routes: blocking, streaming and asynchronous."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, correlation_id, epoch_seconds
from chatledger.adapters.http.auth import require_app
from chatledger.adapters.http.bodies import Body, flag_field, read_body, required_user, text_field
from chatledger.adapters.http.errors import HttpError, invalid, unavailable
from chatledger.adapters.http.objects import Metadata, retriever_resources
from chatledger.adapters.http.reading import Query, header, parse_uuid, trace_id
from chatledger.adapters.http.rendering import Rendering
from chatledger.adapters.http.settings import HttpSettings
from chatledger.adapters.http.sse import EventStream, frames
from chatledger.adapters.http.surface import Place, Surface
from chatledger.application.caller import Caller, require_chat, require_completion
from chatledger.application.commands.sending import NewMessage, Sent
from chatledger.application.errors import GenerationFailedError
from chatledger.domain.events import MessageCompleted, MessageStopped
from chatledger.domain.message import Message
from chatledger.domain.values import AppMode, Usage

ResponseMode = Literal["blocking", "streaming", "async"]


class BlockingAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole answer. ``conversation_id`` is absent for completions."""

    event: str
    task_id: UUID
    id: UUID
    message_id: UUID
    conversation_id: UUID | None = None
    mode: AppMode
    answer: str
    metadata: dict[str, Any]
    created_at: int


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is answered while nobody waits. ``Location`` names the task."""

    task_id: UUID
    message_id: UUID
    conversation_id: UUID
    status: str = "queued"


def send_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""

    @post("/v1/chat-messages", status_code=200)
    async def send_chat_message(request: HttpRequest) -> ASGIResponse:
        app = await require_app(request, surface.application.credentials)
        body = await read_body(request, surface.settings)
        user = required_user(body)
        require_chat(app)
        new = read_chat_message(body, surface.settings)
        mode = read_response_mode(body, app.mode)
        caller = Caller(
            app=app,
            user=user,
            correlation_id=correlation_id(request),
            trace=trace_id(request, Query(request), body.get("trace_id")),
        )
        return await send(surface, request, caller, new, mode)

    @post("/v1/completion-messages", status_code=200)
    async def send_completion_message(request: HttpRequest) -> ASGIResponse:
        app = await require_app(request, surface.application.credentials)
        body = await read_body(request, surface.settings)
        user = required_user(body)
        require_completion(app)
        new = read_completion_message(body, surface.settings)
        mode = read_response_mode(body, app.mode)
        caller = Caller(
            app=app,
            user=user,
            correlation_id=correlation_id(request),
            trace=trace_id(request, Query(request), body.get("trace_id")),
        )
        return await send(surface, request, caller, new, mode)

    return send_chat_message, send_completion_message


# Reading the body


def read_chat_message(body: Body, settings: HttpSettings) -> NewMessage:
    """What a chat is asked.

    Raises:
        HttpError: a field is not acceptable.
    """
    inputs, query = read_inputs(body), read_query(body, settings)
    if not query:
        raise invalid("query", "query is required")
    require_files(body)
    return NewMessage(
        query=query,
        inputs=inputs,
        conversation_id=read_conversation_id(body),
        automatic_name=flag_field(body, "auto_generate_name", default=True),
    )


def read_completion_message(body: Body, settings: HttpSettings) -> NewMessage:
    """What a completion is made of.

    Raises:
        HttpError: a field is not acceptable.
    """
    inputs, query = read_inputs(body), read_query(body, settings)
    require_files(body)
    return NewMessage(query=query, inputs=inputs)


def read_inputs(body: Body) -> Mapping[str, Any]:
    """The values for the app's declared variables.

    Raises:
        HttpError: there is no object of them.
    """
    inputs = body.get("inputs")
    if not isinstance(inputs, dict):
        raise invalid("inputs", "inputs is required" if inputs is None else "inputs must be an object")
    return inputs


def read_query(body: Body, settings: HttpSettings) -> str:
    """The question without NUL characters, which some stores cannot hold.

    Raises:
        HttpError: it is no text, or too long.
    """
    query = (text_field(body, "query") or "").replace("\0", "")
    if len(query) > settings.max_query_characters:
        reason = f"query must not be longer than {settings.max_query_characters} characters"
        raise HttpError(413, reason, params="query")
    return query


def require_files(body: Body) -> None:
    """Uploads are not switched on: a list of files is passed over, anything else is refused.

    Raises:
        HttpError: it is no list.
    """
    files = body.get("files")
    if files is not None and not isinstance(files, list):
        raise invalid("files", "files must be a list")


def read_conversation_id(body: Body) -> UUID | None:
    """The conversation to go on with; None begins one.

    Raises:
        HttpError: it is no UUID.
    """
    text = (text_field(body, "conversation_id") or "").strip()
    return parse_uuid("conversation_id", text) if text else None


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


# Sending and answering


async def send(
    surface: Surface, request: HttpRequest, caller: Caller, new: NewMessage, mode: ResponseMode
) -> ASGIResponse:
    """Send, and answer as the caller asked for."""
    surface.require_open()
    if mode == "async":
        sent = await surface.application.sending.send(caller, new)
        sent.follower.close()
        return _accepted(request, sent)
    place = surface.take_place()
    try:
        sent = await surface.application.sending.send(caller, new)
    except BaseException:
        place.leave()
        raise
    if mode == "streaming":
        return _streamed(surface, request, caller, sent, place)
    with sent.follower:
        try:
            return answer(request, await _whole(surface, caller, sent))
        finally:
            place.leave()


def _accepted(request: HttpRequest, sent: Sent) -> ASGIResponse:
    accepted = Accepted(
        task_id=sent.task_id, message_id=sent.message_id, conversation_id=sent.conversation_id
    )
    return answer(request, accepted, status=202, headers={"location": f"/v1/tasks/{sent.task_id}"})


def _streamed(surface: Surface, request: HttpRequest, caller: Caller, sent: Sent, place: Place) -> ASGIResponse:
    rendering = Rendering(
        sent.message_id,
        sent.created,
        shows_resources=caller.app.configuration.retriever_resource,
        gives_ids=header(request, b"x-stream-ids") == "1",
    )
    batches = sent.follower.batches(known=(sent.created,))
    return EventStream(request, frames(surface, rendering, batches), sent.follower, place)


async def _whole(surface: Surface, caller: Caller, sent: Sent) -> BlockingAnswer:
    """Wait for the end. A caller that goes away ends nothing: the message is answered all the same.

    Raises:
        GenerationFailedError: it ended as errored.
        HttpError: the process goes down; the message will be answered by another.
    """
    message, usage = Message(sent.message_id), Usage()
    async for batch in sent.follower.batches(known=(sent.created,)):
        for envelope in batch:
            message.fold_on((envelope.body,))
            if isinstance(envelope.body, MessageCompleted | MessageStopped):
                usage = envelope.body.usage
        if not message.has_ended and surface.shutdown.closing.is_set():
            raise unavailable()
    if message.error is not None:
        raise GenerationFailedError(message.error.code, message.error.message)
    shows_resources = caller.app.configuration.retriever_resource
    resources = retriever_resources(message.resources, message.id) if shows_resources else []
    metadata = msgspec.structs.asdict(Metadata(retriever_resources=resources, usage=usage))
    return BlockingAnswer(
        event="message",
        task_id=sent.task_id,
        id=sent.message_id,
        message_id=sent.message_id,
        conversation_id=None if caller.app.mode == "completion" else sent.conversation_id,
        mode=caller.app.mode,
        answer=message.answer,
        metadata=metadata | {"status": message.state},
        created_at=epoch_seconds(sent.created.recorded_at),
    )
