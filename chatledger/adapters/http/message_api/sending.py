"""The two send routes: blocking, streaming and asynchronous."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, add_header, answer, epoch_seconds
from chatledger.adapters.http.bodies import Body, read_body
from chatledger.adapters.http.client_watch import ClientWatch
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.files import signed_links
from chatledger.adapters.http.message_api.new_message import (
    ChatMessageRequest,
    CompletionMessageRequest,
    ResponseMode,
    read_chat_message,
    read_completion_message,
    read_on_disconnect,
    read_response_mode,
)
from chatledger.adapters.http.metadata import answer_metadata, retriever_resources, simple_metadata
from chatledger.adapters.http.openapi import (
    BODY_ERRORS,
    IDEMPOTENCY_PARAMETER,
    TRACE_PARAMETERS,
    Operation,
    Parameter,
)
from chatledger.adapters.http.reading import Query, header, idempotency_key, trace_id
from chatledger.adapters.http.rendering import Rendering
from chatledger.adapters.http.shutdown import arrival_of
from chatledger.adapters.http.sse import EventStream, followed_by_speech, frames
from chatledger.adapters.http.surface import Surface
from chatledger.application.caller import Caller, require_chat, require_completion
from chatledger.application.commands.new_message import NewMessage, Sent
from chatledger.application.disclosure import shows_resources
from chatledger.application.ports.views import AppView
from chatledger.domain.values import NIL_UUID, AppMode, TaskState


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
    status: TaskState = "queued"


SEND_ERRORS = (*BODY_ERRORS, 403, 410, 422, 429)
SEND_PARAMETERS = (
    IDEMPOTENCY_PARAMETER,
    *TRACE_PARAMETERS,
    Parameter("X-Stream-Ids", "`1` puts a block with an `id:` line after each event's frames.", where="header"),
)
_SEND_CHAT = Operation(
    tag="Messages",
    summary="Send a chat message",
    description=(
        "The answer comes whole, as an event stream, or not at all but under its task. `parent_message_id` is the "
        "message of the conversation to go on from; left out, with a key it is whatever came before, with a passport "
        "none. `on_busy` says what becomes of it while another message of the conversation is unfinished: `allow` "
        "answers it beside the other, `reject` refuses it, `queue` answers it after the other, `interrupt` ends the "
        "other first; left out, the app's configuration says it."
    ),
    parameters=SEND_PARAMETERS,
    body=ChatMessageRequest,
    answers={200: BlockingAnswer, 202: Accepted},
    streams=True,
    errors=(*SEND_ERRORS, 404, 409),
)
_SEND_COMPLETION = Operation(
    tag="Messages",
    summary="Ask for a completion",
    description="`query` also fills an input variable of that name.",
    parameters=SEND_PARAMETERS,
    body=CompletionMessageRequest,
    answers={200: BlockingAnswer, 202: Accepted},
    streams=True,
    errors=SEND_ERRORS,
)


def send_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""

    async def handle(
        request: HttpRequest,
        require_mode: Callable[[AppView], None],
        read_message: Callable[[Body], NewMessage],
    ) -> ASGIResponse:
        visit = await entrance.admit(request)
        body = await read_body(request, surface.settings)
        trace = trace_id(request, Query(request), body.get("trace_id"))
        caller = visit.by_body(body, required=True, trace=trace)
        require_mode(visit.app)
        new, mode = read_message(body), read_response_mode(body, visit.app.mode)
        new = msgspec.structs.replace(new, on_disconnect=read_on_disconnect(body, mode))
        if not entrance.names_conversations:
            new = msgspec.structs.replace(new, automatic_name=False)
        return await send(surface, request, caller, new, mode)

    # Who comes with a key may know nothing of trees: theirs are lines.
    read_chat = partial(read_chat_message, parent_id=NIL_UUID if entrance.names_users else None)

    @post(f"{entrance.prefix}/chat-messages", status_code=200, opt=entrance.documented(_SEND_CHAT))
    async def send_chat_message(request: HttpRequest) -> ASGIResponse:
        return await handle(request, require_chat, read_chat)

    @post(f"{entrance.prefix}/completion-messages", status_code=200, opt=entrance.documented(_SEND_COMPLETION))
    async def send_completion_message(request: HttpRequest) -> ASGIResponse:
        return await handle(request, require_completion, read_completion_message)

    return send_chat_message, send_completion_message


async def send(
    surface: Surface, request: HttpRequest, caller: Caller, new: NewMessage, mode: ResponseMode
) -> ASGIResponse:
    """Send under the request's idempotency key, if it has one, and answer as the caller asked for."""
    surface.require_open(request)
    new = msgspec.structs.replace(new, idempotency_key=idempotency_key(request))
    match mode:
        case "async":
            return _accepted(request, caller, await _sent(surface, request, caller, new))
        case "streaming":
            return await _streamed(surface, request, caller, new)
        case "blocking":
            return await _whole(surface, request, caller, new)


async def _sent(surface: Surface, request: HttpRequest, caller: Caller, new: NewMessage) -> Sent:
    sent = await surface.application.sending.send(caller, new)
    arrival_of(request.scope).settle()
    if sent.is_repeat:
        add_header(request, "idempotent-replayed", "true")
    return sent


def _accepted(request: HttpRequest, caller: Caller, sent: Sent) -> ASGIResponse:
    sent.follower.close()
    accepted = Accepted(
        task_id=sent.task_id, message_id=sent.message_id, conversation_id=sent.conversation_id, status=sent.state
    )
    prefix = "/api" if caller.kind == "browser" else "/v1"
    return answer(request, accepted, status=202, headers={"location": f"{prefix}/tasks/{sent.task_id}"})


async def _streamed(surface: Surface, request: HttpRequest, caller: Caller, new: NewMessage) -> ASGIResponse:
    place = surface.take_place()
    try:
        sent = await _sent(surface, request, caller, new)
    except BaseException:
        place.leave()
        raise
    place.wait_for(sent.created)
    rendering = Rendering(
        sent.message_id,
        sent.created,
        shows_resources=shows_resources(caller),
        gives_ids=header(request, b"x-stream-ids") == "1",
        link=signed_links(surface, request),
    )
    shown = frames(surface, rendering, sent.follower.batches(known=sent.known))
    speaking = surface.application.speaking
    is_spoken = speaking.speaks_by_itself(caller.app)
    if is_spoken:
        shown = followed_by_speech(shown, rendering, speaking, caller.app, sent.created.key_id)
    return EventStream(request, rendering, shown, sent.follower, place, goes_on=is_spoken)


async def _whole(surface: Surface, request: HttpRequest, caller: Caller, new: NewMessage) -> ASGIResponse:
    place = surface.take_place()
    try:
        sent = await _sent(surface, request, caller, new)
        place.wait_for(sent.created)
        watch = ClientWatch(request.receive, sent.follower.close)
        try:
            with watch:
                given = await surface.application.asking.wait(caller, sent)
        finally:
            if watch.has_gone:
                await place.desert()
    finally:
        place.leave()
    shown = given.resources if shows_resources(caller) else ()
    if caller.kind == "browser":
        metadata = msgspec.structs.asdict(simple_metadata(shown))
    else:
        metadata = answer_metadata(retriever_resources(shown, given.message_id), given.annotation, given.end)
    whole = BlockingAnswer(
        event="message",
        task_id=given.task_id,
        id=given.message_id,
        message_id=given.message_id,
        conversation_id=None if caller.app.mode == "completion" else given.conversation_id,
        mode=caller.app.mode,
        answer=given.text,
        metadata=metadata,
        created_at=epoch_seconds(given.created_at),
    )
    return answer(request, whole)
