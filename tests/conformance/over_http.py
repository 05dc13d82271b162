"""The service as a client of the HTTP API has it, on a real server. Apps are set up as the command line does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import msgspec

from chatledger.adapters.cli.orders import operator_context
from chatledger.adapters.http.errors import _MISSING, GENERATION_STATUS, QUOTA_USED_UP
from chatledger.application.errors import (
    ConversationBusyError,
    FeatureDisabledError,
    ForbiddenError,
    GenerationFailedError,
    IdempotencyKeyReusedError,
    InvalidParameterError,
    NotFoundError,
    QuotaUsedUpError,
    TooLongError,
    TooManyRequestsError,
    TypeMismatchError,
    WrongModeError,
)
from chatledger.domain.end_user import SHARED_EXTERNAL_ID
from chatledger.domain.values import NIL_UUID
from tests.conformance.service import Ids, Listed, Seen, Streamed, Told, Variable, Whole
from tests.support.server import LiveServer, answer_of, events_of, frames_of, live_server

MISSING = {message: missing for missing, message in _MISSING.items()}


class HttpService:
    def __init__(self, server: LiveServer) -> None:
        self._server = server
        self._apps = server.running.application.apps
        self._clients: dict[UUID, httpx.AsyncClient] = {}

    async def create_app(self, mode, configuration):
        made = await self._apps.create(mode, "An app", configuration, operator_context(self._server.running))
        self._clients[made.app_id] = self._server.client(made.api_key)
        return made.app_id

    async def configure(self, app, configuration):
        await self._apps.configure(app, configuration, operator_context(self._server.running))

    async def annotate(self, app, question, answer, annotation=None):
        path = "/v1/apps/annotations" if annotation is None else f"/v1/apps/annotations/{annotation}"
        method = "POST" if annotation is None else "PUT"
        response = await self._clients[app].request(method, path, json={"question": question, "answer": answer})
        return UUID(_content(response)["id"])

    async def remove_annotation(self, app, annotation):
        _content(await self._clients[app].delete(f"/v1/apps/annotations/{annotation}"))

    async def annotations(self, app, keyword=""):
        page = _content(await self._clients[app].get("/v1/apps/annotations", params={"keyword": keyword}))
        return [(item["question"], item["answer"], item["hit_count"]) for item in page["data"]]

    async def rotate_key(self, app):
        key = await self._apps.rotate_key(app, operator_context(self._server.running))
        self._clients[app] = self._server.client(key)

    async def switch_app(self, app, to):
        await getattr(self._apps, to)(app, operator_context(self._server.running))

    async def send(
        self,
        app,
        query,
        user="ada",
        *,
        inputs=None,
        conversation=None,
        automatic_name=True,
        on_busy=None,
        trace=None,
        idempotency_key=None,
    ):
        body = _chat_body(query, user, inputs, conversation)
        body |= {"response_mode": "async", "auto_generate_name": automatic_name, "trace_id": trace}
        body["on_busy"] = on_busy
        return _ids(await self._post(app, "/v1/chat-messages", body, idempotency_key))

    async def ask(
        self,
        app,
        query,
        user="ada",
        *,
        inputs=None,
        files=(),
        conversation=None,
        parent=NIL_UUID,
        idempotency_key=None,
    ):
        body = _chat_body(query, user, inputs, conversation) | {"parent_message_id": str(parent)}
        body["files"] = msgspec.to_builtins(files)
        return _whole(await self._post(app, "/v1/chat-messages", body, idempotency_key))

    async def upload(self, app, name, content, user="ada"):
        form = {"file": (name, content, "application/octet-stream")}
        response = await self._client(app).post("/v1/files/upload", files=form, data=_given(user=user))
        if response.status_code != 201:
            raise _refusal(response)
        return UUID(response.json()["id"])

    async def files(self, app, message, user="ada"):
        found = await self._get(app, f"/v1/messages/{message}", user=user)
        return [(file["type"], file["filename"], file["size"]) for file in found["message_files"]]

    async def regenerate(self, app, message, user="ada", *, idempotency_key=None):
        body = {"response_mode": "async", "user": user}
        return _ids(await self._post(app, f"/v1/messages/{message}/regenerate", body, idempotency_key))

    async def complete(self, app, inputs, query="", user="ada"):
        body = {"inputs": inputs, "query": query, "user": user}
        answer = await self._post(app, "/v1/completion-messages", body)
        message = await self._get(app, f"/v1/messages/{answer['message_id']}")
        return _whole(answer | {"conversation_id": message["conversation_id"]})

    async def more_like(self, app, message, user="ada"):
        return _ids(await self._get(app, f"/v1/messages/{message}/more-like-this", user=user, response_mode="async"))

    async def suggest(self, app, message, user="ada"):
        return (await self._get(app, f"/v1/messages/{message}/suggested", user=user))["data"]

    async def follow(self, app, ids, user="ada", *, after=0):
        response = await self._client(app).get(
            f"/v1/messages/{ids.message}/stream", params=_given(after=after, user=user)
        )
        if response.status_code != 200:
            raise _refusal(response)
        events = events_of(response.text)
        end = events[-1] if events else {"event": "message_end", "metadata": {"status": "completed"}}
        return Streamed(answer_of(events), end["code"] if end["event"] == "error" else end["metadata"]["status"])

    async def versions(self, app, ids, *, after):
        response = await self._client(app).get(f"/v1/messages/{ids.message}/stream", params=_given(after=after))
        return [int(line.rpartition(":")[2]) for line in response.text.splitlines() if line.startswith("id:")]

    async def told(self, app, conversation, ends, user="ada", *, after=0):
        path = f"/v1/conversations/{conversation}/stream"
        async with self._client(app).stream("GET", path, params=_given(after=after, user=user)) as response:
            if response.status_code != 200:
                await response.aread()
                raise _refusal(response)
            text = ""
            async for piece in response.aiter_text():
                text += piece
                told = _told(text[: text.rfind("\n\n") + 2])
                if len(told) == ends:
                    return told
        raise AssertionError("the stream ended")

    async def first_text(self, app, ids):
        async with self._client(app).stream("GET", f"/v1/messages/{ids.message}/stream") as response:
            text = ""
            async for piece in response.aiter_text():
                text += piece
                whole = text[: text.rfind("\n\n") + 2]
                if shown := answer_of(events_of(whole)):
                    return shown
        raise AssertionError("the answer ended without text")

    async def stop(self, app, ids, user="ada"):
        await self._post(app, f"/v1/chat-messages/{ids.task}/stop", {"user": user})

    async def task(self, app, task, user="ada"):
        found = await self._get(app, f"/v1/tasks/{task}", user=user)
        return found["status"], found["attempt"], found["error"] and found["error"]["code"]

    async def message(self, app, message, user="ada"):
        found = await self._get(app, f"/v1/messages/{message}", user=user)
        return _seen(found), len(found["siblings"])

    async def events(self, app, message, user="ada"):
        found, cursor, has_more = [], None, True
        while has_more:
            page = await self._get(app, f"/v1/messages/{message}/events", user=user, limit=2, cursor=cursor)
            found += [(event["type"], event["actor"]["kind"]) for event in page["data"]]
            cursor, has_more = page["cursor"], page["has_more"]
        return found

    async def history(self, app, conversation, user="ada", *, first=None, limit=20):
        page = await self._get(
            app, "/v1/messages", conversation_id=str(conversation), user=user, first_id=first, limit=limit
        )
        return [_seen(entry) for entry in page["data"]], page["has_more"]

    async def conversations(self, app, user="ada", *, sort_by="-updated_at", last=None, limit=20):
        page = await self._get(app, "/v1/conversations", user=user, sort_by=sort_by, last_id=last, limit=limit)
        return [Listed(UUID(entry["id"]), entry["name"]) for entry in page["data"]], page["has_more"]

    async def rename(self, app, conversation, name, user="ada"):
        body = {"name": name, "auto_generate": name is None, "user": user}
        entry = await self._post(app, f"/v1/conversations/{conversation}/name", body)
        return Listed(UUID(entry["id"]), entry["name"])

    async def delete(self, app, conversation, user="ada"):
        _content(await self._client(app).request("DELETE", f"/v1/conversations/{conversation}", json={"user": user}))

    async def variables(self, app, conversation, user="ada", *, name=None, last=None, limit=20):
        query = {"user": user, "variable_name": name, "last_id": last, "limit": limit}
        page = await self._get(app, f"/v1/conversations/{conversation}/variables", **query)
        return [_variable(entry) for entry in page["data"]], page["has_more"]

    async def set_variable(self, app, conversation, variable, value, user="ada"):
        path = f"/v1/conversations/{conversation}/variables/{variable}"
        return _variable(_content(await self._client(app).put(path, json={"value": value, "user": user})))

    async def rate(self, app, message, rating, *, content=None, user="ada"):
        body = {"rating": rating, "content": content, "user": user}
        await self._post(app, f"/v1/messages/{message}/feedbacks", body)

    async def feedbacks(self, app, *, page=1, limit=20):
        found = await self._get(app, "/v1/app/feedbacks", page=page, limit=limit)
        return [(UUID(entry["message_id"]), entry["rating"], entry["content"]) for entry in found["data"]]

    def _client(self, app: UUID) -> httpx.AsyncClient:
        return self._clients[app]

    async def _post(self, app: UUID, path: str, body: dict[str, Any], idempotency_key: str | None = None) -> Any:
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return _content(await self._client(app).post(path, json=body, headers=headers))

    async def _get(self, app: UUID, path: str, **query: Any) -> Any:
        return _content(await self._client(app).get(path, params=_given(**query)))


def _given(**query: Any) -> dict[str, Any]:
    return {name: str(value) for name, value in query.items() if value is not None}


def _chat_body(query, user, inputs, conversation) -> dict[str, Any]:
    # On the wire a message needs a user; the one whom callers without a user share has this name.
    body = {"query": query, "user": SHARED_EXTERNAL_ID if user is None else user, "inputs": inputs or {}}
    return body if conversation is None else body | {"conversation_id": str(conversation)}


def _content(response: httpx.Response) -> Any:
    if response.status_code not in {200, 201, 202, 204}:
        raise _refusal(response)
    return response.json() if response.content else None


def _refusal(response: httpx.Response) -> Exception:
    """The application's error that an answer tells of."""
    body = response.json()
    code, field, message = body["code"], body.get("params"), body["message"]
    if message == QUOTA_USED_UP:
        return QuotaUsedUpError(int(response.headers["retry-after"]))
    if code in GENERATION_STATUS and field is None:
        # On the wire a failure has no ids.
        return GenerationFailedError(code, message, message_id=NIL_UUID, task_id=NIL_UUID, conversation_id=None)
    errors = {
        "not_found": lambda: NotFoundError(MISSING[message]),
        "idempotency_key_reused": lambda: IdempotencyKeyReusedError(message),
        "invalid_param": lambda: InvalidParameterError(field, message),
        "request_entity_too_large": lambda: TooLongError(field, message),
        "bad_request": lambda: TypeMismatchError(message),
        "not_chat_app": lambda: WrongModeError("chat"),
        "too_many_requests": lambda: TooManyRequestsError(int(message.rstrip(".").rpartition(" ")[2])),
        "conversation_busy": lambda: ConversationBusyError(0),
        "forbidden": lambda: ForbiddenError(message),
        "app_unavailable": lambda: WrongModeError("completion"),
        "not_completion_app": lambda: WrongModeError("completion"),
        "app_suggested_questions_after_answer_disabled": lambda: FeatureDisabledError(
            "suggested_questions_after_answer"
        ),
        "app_more_like_this_disabled": lambda: FeatureDisabledError("more_like_this"),
    }
    return errors[code]()


def _ids(body: dict[str, Any]) -> Ids:
    return Ids(UUID(body["message_id"]), UUID(body["task_id"]), UUID(body["conversation_id"]))


def _told(text):
    events, told = [], []
    for block in frames_of(text):
        if not block.startswith("id: "):
            events += events_of(f"{block}\n\n")
        elif events[-1]["event"] == "message_end":
            message = events[-1]["message_id"]
            shown = answer_of([event for event in events if event["message_id"] == message])
            told.append(Told(UUID(message), shown, int(block[4:])))
    return told


def _whole(body: dict[str, Any]) -> Whole:
    metadata = body["metadata"]
    return Whole(_ids(body), body["answer"], metadata["status"], metadata["usage"]["completion_tokens"])


def _variable(entry: dict[str, Any]) -> Variable:
    return Variable(UUID(entry["id"]), entry["name"], entry["value"])


def _seen(entry: dict[str, Any]) -> Seen:
    rating = entry["feedback"] and entry["feedback"]["rating"]
    return Seen(entry["query"], entry["answer"], entry["status"] == "error", rating)


@asynccontextmanager
async def http_service(settings: dict[str, Any]) -> AsyncIterator[HttpService]:
    async with live_server(**settings) as server:
        yield HttpService(server)
