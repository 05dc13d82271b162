"""What an app's key is shown of its messages, and what only operators are."""

from typing import Any

import httpx
import pytest

from tests.support.server import LiveServer, chat_body, events_of

INTERNAL = "Internal Server Error, please contact support."
NO_CREDENTIALS = (
    "No valid model provider credentials found. "
    "Please go to Settings -> Model Provider to complete your provider credentials."
)
SECRET = "SOME_" + "KEY_OF_A_PROVIDER"


@pytest.fixture
async def operator(server: LiveServer) -> httpx.AsyncClient:
    return server.client(await server.new_token("audit"))


async def sent(client: httpx.AsyncClient, query: str) -> dict[str, Any]:
    """What a message came to, once it has ended."""
    body = chat_body(query, response_mode="async")
    accepted: dict[str, Any] = (await client.post("/v1/chat-messages", json=body)).json()
    await client.get(f"/v1/messages/{accepted['message_id']}/stream")
    return accepted


async def event(client: httpx.AsyncClient, message_id: str, name: str) -> dict[str, Any]:
    page = (await client.get(f"/v1/messages/{message_id}/events", params={"limit": 100})).json()
    (found,) = [entry["data"] for entry in page["data"] if entry["type"] == name]
    return found


@pytest.mark.parametrize("shows", [True, False])
async def test_hidden_passages_are_hidden_wherever_an_app_reads(server, operator, shows):
    hiding = {"generator": "extractive", "settings": {}, "retriever_resource": shows}
    chat = server.client(await server.new_key(configuration=hiding))
    message_id = (await sent(chat, "How do I stop an answer?"))["message_id"]
    retrieved = (await event(operator, message_id, "ResourcesRetrieved"))["resources"]
    assert retrieved

    for reader, sees in ((chat, shows), (operator, True)):
        assert ("resources" in await event(reader, message_id, "ResourcesRetrieved")) == sees
        assert bool((await reader.get(f"/v1/messages/{message_id}")).json()["retriever_resources"]) == sees
        (*_, end) = events_of((await reader.get(f"/v1/messages/{message_id}/stream")).text)
        assert bool(end["metadata"]["retriever_resources"]) == sees


async def test_what_an_operator_configured_is_not_for_apps(server, operator):
    chat = await server.new_client(tokens=1, interval_ms=3)
    message_id = (await sent(chat, "hello"))["message_id"]

    assert (await event(operator, message_id, "MessageCreated"))["parameters"] == {"tokens": 1, "interval_ms": 3}
    shown = await event(chat, message_id, "MessageCreated")
    assert "parameters" not in shown
    assert shown["query"] == "hello"


async def readings(reader: httpx.AsyncClient, message: dict[str, Any]) -> list[str]:
    """Why a message failed, wherever that can be read."""
    task = (await reader.get(f"/v1/tasks/{message['task_id']}")).json()
    detail = (await reader.get(f"/v1/messages/{message['message_id']}")).json()
    errored = await event(reader, message["message_id"], "MessageErrored")
    return [task["error"]["message"], detail["error"], errored["message"]]


async def test_our_own_failures_have_one_text_for_apps(server, operator):
    chat = await server.new_client()
    message = await sent(chat, "/script fail_as=internal")

    assert await readings(chat, message) == [INTERNAL] * 3
    history = await chat.get("/v1/messages", params={"conversation_id": message["conversation_id"]})
    assert [entry["error"] for entry in history.json()["data"]] == [INTERNAL]
    assert await readings(operator, message) == ["scripted failure: internal"] * 3


async def test_a_providers_words_are_for_apps(server):
    message = await sent(chat := await server.new_client(), "/script fail_as=invalid")

    assert await readings(chat, message) == ["scripted failure: invalid"] * 3


async def test_why_an_attempt_was_put_back_is_told_in_public_words(server, operator):
    chat = await server.new_client(tokens=1)
    message_id = (await sent(chat, "/script fail_as=transient fail_times=1"))["message_id"]

    for reader in (chat, operator):
        assert (await event(reader, message_id, "GenerationRequeued"))["detail"] == "scripted failure: transient"


async def test_the_name_of_a_variable_is_for_operators(server, operator):
    settings = {"base_url": "http://127.0.0.1:9", "model": "any", "api_key_env": SECRET}
    configuration = {"generator": "openai_compatible", "settings": settings}
    chat = server.client(await server.new_key(configuration=configuration))

    response = await chat.post("/v1/chat-messages", json=chat_body())

    assert (response.status_code, response.json()["code"]) == (403, "provider_not_initialize")
    assert response.json()["message"] == NO_CREDENTIALS
    message = await sent(chat, "hello")
    assert await readings(chat, message) == [NO_CREDENTIALS] * 3
    (error,) = events_of((await chat.get(f"/v1/messages/{message['message_id']}/stream")).text)
    assert error["message"] == NO_CREDENTIALS
    assert all(SECRET in text for text in await readings(operator, message))


async def test_a_specific_reason_about_credentials_is_told(server):
    response = await (await server.new_client()).post(
        "/v1/chat-messages", json=chat_body("/script fail_as=credentials")
    )

    assert response.json()["message"] == "scripted failure: credentials"


@pytest.mark.parametrize(
    ("statement", "inputs", "introduction"),
    [
        ("Hello {{name}}, {{ name }}!", {"name": "Ada"}, "Hello Ada, Ada!"),
        ("{{name}} is {{age}}, {{other}}", {"name": "Ada", "age": 36}, "Ada is 36, {{other}}"),
        ("Hello {{name}}.", {}, "Hello ."),
        ("{{name}}", {"name": "{{age}}", "age": 1}, "{{age}}"),
        ("No {name} here", {"name": "Ada"}, "No {name} here"),
    ],
)
async def test_a_conversation_is_introduced_with_its_first_inputs(server, statement, inputs, introduction):
    form = [{"variable": "name"}, {"variable": "age", "type": "number"}]
    configuration = {"opening_statement": statement, "user_input_form": form}
    chat = server.client(await server.new_key(configuration=configuration, tokens=1))

    answer = (await chat.post("/v1/chat-messages", json=chat_body(inputs=inputs))).json()
    again = chat_body(inputs={"name": "Bob"}, conversation_id=answer["conversation_id"])
    assert (await chat.post("/v1/chat-messages", json=again)).status_code == 200

    (conversation,) = (await chat.get("/v1/conversations?user=ada")).json()["data"]
    assert conversation["introduction"] == introduction
    assert (await chat.get("/v1/parameters")).json()["opening_statement"] == statement


async def test_an_app_tells_what_it_suggests_and_whether(server):
    features = {"suggested_questions_after_answer": {"enabled": True}, "more_like_this": {"enabled": True}}
    chat = server.client(await server.new_key(configuration=features | {"suggested_questions": ["Why?"]}))
    plain = await server.new_client()

    told = (await chat.get("/v1/parameters")).json()
    assert {name: told[name] for name in features} == features
    assert told["suggested_questions"] == ["Why?"]
    told = (await plain.get("/v1/parameters")).json()
    assert {name: told[name]["enabled"] for name in features} == dict.fromkeys(features, False)
    assert told["suggested_questions"] == []
