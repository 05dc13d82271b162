"""What a model writes beside the answers: names of conversations, and questions to ask next."""

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.support.chatting import ask, complete
from tests.support.server import LiveServer, chat_body, until


@pytest.fixture
async def completion(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client("completion")


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=20)


async def name_of(client: httpx.AsyncClient) -> str:
    (conversation,) = (await client.get("/v1/conversations", params={"user": "ada"})).json()["data"]
    name: str = conversation["name"]
    return name


async def test_a_new_conversation_gets_a_name_by_itself(server):
    client = await server.new_client(tokens=1, title="A greeting")
    await ask(client, "hello, is anybody there?")

    async def is_named() -> bool:
        return await name_of(client) == "A greeting"

    await until(is_named)


async def test_a_new_conversation_keeps_its_first_name_where_the_caller_wants_so(server):
    client = await server.new_client(tokens=1, title="A greeting")
    asked = await ask(client, "hello, is anybody there?", auto_generate_name=False)
    assert uuid.UUID(asked["conversation_id"]) not in await server.running.application.views.unnamed(1_000)
    assert await name_of(client) == "hello, is anybody th…"


async def test_a_visitors_conversation_gets_a_name_only_where_the_client_asks_for_it(server):
    app = await server.new_app(configuration={"settings": {"tokens": 1, "title": "A greeting"}})
    visitor = await server.new_visitor(app.site_code)
    body = {"inputs": {}, "query": "hello, is anybody there?", "auto_generate_name": True}
    sent = (await visitor.post("/api/chat-messages", json=body)).json()
    assert uuid.UUID(sent["conversation_id"]) not in await server.running.application.views.unnamed(1_000)
    (conversation,) = (await visitor.get("/api/conversations")).json()["data"]
    assert conversation["name"] == "hello, is anybody th…"


QUESTIONS = ["Why?", "How?", "When?"]


@pytest.fixture
async def suggesting(server: LiveServer) -> httpx.AsyncClient:
    """With the key of a chat app that suggests questions."""
    feature = {"suggested_questions_after_answer": {"enabled": True}}
    script = {"tokens": 2, "suggestions": f"Here they are: {json.dumps(QUESTIONS)}."}
    return server.client(await server.new_key(configuration={"settings": script} | feature))


async def suggested(client: httpx.AsyncClient, message_id: object, path: str = "suggested", **query: Any) -> Any:
    return await client.get(f"/v1/messages/{message_id}/{path}", params=query)


async def test_the_two_paths(suggesting):
    message_id = (await ask(suggesting))["message_id"]
    with_result = await suggested(suggesting, message_id, user="ada")
    alone = await suggested(suggesting, message_id, "suggested-questions")

    assert (with_result.status_code, with_result.json()) == (200, {"result": "success", "data": QUESTIONS})
    assert (alone.status_code, alone.json()) == (200, {"data": QUESTIONS})


@pytest.mark.parametrize("script", ["text_fail_as=transient", "suggestions=none", "fail_as=internal"])
async def test_a_failure_of_the_model_suggests_nothing(suggesting, script):
    sent = await suggesting.post("/v1/chat-messages", json=chat_body(f"/script {script}", response_mode="async"))
    await until(lambda: has_ended(suggesting, sent.json()["task_id"]))
    response = await suggested(suggesting, sent.json()["message_id"], user="ada")
    assert (response.status_code, response.json()) == (200, {"result": "success", "data": []})


async def has_ended(client: httpx.AsyncClient, task_id: str) -> bool:
    task = (await client.get(f"/v1/tasks/{task_id}")).json()
    return task["ended_at"] is not None


async def test_of_nobody_elses_message(suggesting):
    message_id = (await ask(suggesting))["message_id"]
    for path, text in (("suggested", "Message Not Exists."), ("suggested-questions", "Message not found")):
        for answer in (
            await suggested(suggesting, message_id, path, user="eve"),
            await suggested(suggesting, uuid.uuid4(), path),
        ):
            assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (404, "not_found", text)


async def test_of_a_deleted_conversation(suggesting):
    asked = await ask(suggesting)
    await suggesting.delete(f"/v1/conversations/{asked['conversation_id']}")
    for path, text in (("suggested", "Conversation Not Exists."), ("suggested-questions", "Conversation not found")):
        answer = await suggested(suggesting, asked["message_id"], path, user="ada")
        assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (404, "not_found", text)


@pytest.mark.parametrize("path", ["suggested", "suggested-questions"])
async def test_switched_off_or_not_for_this_kind_of_app(chat, completion, path):
    off = await suggested(chat, (await ask(chat))["message_id"], path)
    assert (off.status_code, off.json()["code"]) == (403, "app_suggested_questions_after_answer_disabled")
    other = await suggested(completion, (await complete(completion))["message_id"], path)
    assert (other.status_code, other.json()["code"]) == (403, "not_chat_app")


async def test_a_visitor_has_both_paths_too_and_nobody_elses_messages(server):
    feature = {"suggested_questions_after_answer": {"enabled": True}}
    script = {"tokens": 2, "suggestions": json.dumps(QUESTIONS)}
    app = await server.new_app(configuration={"settings": script} | feature)
    visitor, other = await server.new_visitor(app.site_code), await server.new_visitor(app.site_code)
    sent = await visitor.post("/api/chat-messages", json={"inputs": {}, "query": "hello"})
    path = f"/api/messages/{sent.json()['id']}"

    assert (await visitor.get(f"{path}/suggested")).json() == {"result": "success", "data": QUESTIONS}
    assert (await visitor.get(f"{path}/suggested-questions")).json() == {"data": QUESTIONS}
    assert (await other.get(f"{path}/suggested")).status_code == 404
    assert (await other.get(f"{path}/suggested-questions")).json()["message"] == "Message not found"
    refused = await visitor.get(f"{path}/more-like-this", params={"response_mode": "blocking"})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_completion_app")
