"""The public Python client, as it is: what its users do works here."""

import asyncio
import json
from typing import Any

import pytest
from dify_client import ChatClient, CompletionClient, DifyClient

from tests.support.server import LiveServer, answer_of, until


def connect(server: LiveServer, kind: type[Any], key: str) -> Any:
    client = kind(key)
    client.base_url = f"{server.base_url}/v1"
    return client


@pytest.fixture
async def chat(server: LiveServer) -> ChatClient:
    return connect(server, ChatClient, await server.new_key(tokens=20, interval_ms=1))


def ask(client: ChatClient, query: str, *, user: str = "ada", **more: Any) -> dict[str, Any]:
    response = client.create_chat_message(inputs={}, query=query, user=user, **more)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def history(client: ChatClient, conversation_id: str, user: str = "ada", **more: Any) -> list[dict[str, Any]]:
    response = client.get_conversation_messages(user=user, conversation_id=conversation_id, **more)
    assert response.status_code == 200, response.text
    data: list[dict[str, Any]] = response.json()["data"]
    return data


async def test_a_blocking_chat(chat):
    answer = await asyncio.to_thread(ask, chat, "hello")

    assert answer["answer"] == "".join(f"t{number} " for number in range(20))
    (message,) = await asyncio.to_thread(history, chat, answer["conversation_id"])
    assert (message["id"], message["answer"]) == (answer["message_id"], answer["answer"])


async def test_the_chunks_of_a_streaming_chat_are_the_history(chat):
    def stream() -> list[dict[str, Any]]:
        response = chat.create_chat_message(inputs={}, query="hello", user="ada", response_mode="streaming")
        response.raise_for_status()
        lines = (line.decode() for line in response.iter_lines())
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    events = await asyncio.to_thread(stream)

    assert events[-1]["event"] == "message_end"
    assert len(events) > 2, "nothing was streamed: it all came at once"
    (message,) = await asyncio.to_thread(history, chat, events[0]["conversation_id"])
    assert answer_of(events) == message["answer"] == "".join(f"t{number} " for number in range(20))


async def test_a_continued_conversation(chat):
    first = await asyncio.to_thread(ask, chat, "one")
    second = await asyncio.to_thread(ask, chat, "two", conversation_id=first["conversation_id"])

    assert second["conversation_id"] == first["conversation_id"]
    messages = await asyncio.to_thread(history, chat, first["conversation_id"])
    assert [message["query"] for message in messages] == ["one", "two"]


async def test_paging_with_first_id(chat):
    first = await asyncio.to_thread(ask, chat, "/script tokens=1")
    conversation_id = first["conversation_id"]
    for number in range(4):
        await asyncio.to_thread(ask, chat, f"question {number}", conversation_id=conversation_id)

    newest = await asyncio.to_thread(history, chat, conversation_id, limit=2)
    older = await asyncio.to_thread(history, chat, conversation_id, limit=2, first_id=newest[0]["id"])

    assert [message["query"] for message in older + newest] == [f"question {number}" for number in range(4)]


@pytest.mark.parametrize("rating", ["like", "dislike"])
async def test_a_rating_is_given_and_withdrawn(chat, rating):
    answer = await asyncio.to_thread(ask, chat, "hello")

    async def rate(value: str | None) -> Any:
        response = await asyncio.to_thread(chat.message_feedback, answer["message_id"], value, "ada")
        assert (response.status_code, response.json()) == (200, {"result": "success"})
        (message,) = await asyncio.to_thread(history, chat, answer["conversation_id"])
        return message["feedback"]

    assert await rate(rating) == {"rating": rating}
    assert await rate(None) is None


async def test_a_completion(server):
    client = connect(server, CompletionClient, await server.new_key("completion", tokens=3))

    response = await asyncio.to_thread(client.create_completion_message, {}, "blocking", "ada")

    assert response.status_code == 200
    assert (response.json()["answer"], response.json()["mode"]) == ("t0 t1 t2 ", "completion")
    assert "conversation_id" not in response.json()


async def test_a_wrong_key(server):
    client = connect(server, ChatClient, "app-" + "x" * 24)

    response = await asyncio.to_thread(client.create_chat_message, {}, "hello", "ada")

    assert response.status_code == 401
    assert response.json() == {"code": "unauthorized", "message": "Access token is invalid", "status": 401}


async def test_an_unknown_conversation(chat):
    nowhere = "00000000-0000-4000-8000-000000000000"

    sent = await asyncio.to_thread(chat.create_chat_message, {}, "hello", "ada", "blocking", nowhere)
    read = await asyncio.to_thread(chat.get_conversation_messages, "ada", nowhere)

    for response in (sent, read):
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
        assert response.json()["message"] == "Conversation Not Exists."


async def test_the_list_of_conversations_with_the_empty_values_that_the_client_sends(chat):
    answer = await asyncio.to_thread(ask, chat, "hello")

    response = await asyncio.to_thread(chat.get_conversations, "ada")

    assert response.status_code == 200
    assert [entry["id"] for entry in response.json()["data"]] == [answer["conversation_id"]]


async def test_the_parameters_of_an_app(server):
    form = [{"variable": "city", "type": "select", "options": ["Oslo", "Lima"], "required": True}]
    key = await server.new_key(configuration={"opening_statement": "Good day.", "user_input_form": form})
    client = connect(server, DifyClient, key)

    response = await asyncio.to_thread(client.get_application_parameters, "ada")

    assert response.status_code == 200
    assert response.json()["opening_statement"] == "Good day."
    assert response.json()["user_input_form"] == [
        {"select": {"label": "city", "variable": "city", "required": True, "default": "", "options": ["Oslo", "Lima"]}}
    ]


async def test_a_client_that_goes_away_ends_nothing(server, chat):
    def read_a_little() -> dict[str, Any]:
        query = "/script tokens=30 interval_ms=10"
        with chat.create_chat_message(inputs={}, query=query, user="ada", response_mode="streaming") as response:
            line = next(line for line in response.iter_lines() if line)
            event: dict[str, Any] = json.loads(line.decode().removeprefix("data: "))
            return event

    event = await asyncio.to_thread(read_a_little)

    async def is_whole() -> bool:
        (message,) = await asyncio.to_thread(history, chat, event["conversation_id"])
        return bool(message["answer"] == "".join(f"t{number} " for number in range(30)))

    await until(is_whole)
