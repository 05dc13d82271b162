"""More of the same kind: a completion made anew."""

from typing import Any

import httpx
import pytest

from tests.http.test_files import uploaded
from tests.support.chatting import ask, complete
from tests.support.server import LiveServer, answer_of, events_of


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=20)


async def more_like_this(client: httpx.AsyncClient, message_id: str, **query: Any) -> httpx.Response:
    return await client.get(f"/v1/messages/{message_id}/more-like-this", params=query)


@pytest.fixture
async def completion(server: LiveServer) -> httpx.AsyncClient:
    """With the key of a completion app that gives more of the same kind."""
    key = await server.new_key("completion", configuration={"more_like_this": {"enabled": True}})
    return server.client(key)


async def test_more_like_this_is_a_new_message(completion):
    original = await complete(completion)
    response = await more_like_this(completion, original["message_id"], response_mode="blocking")

    assert response.status_code == 200, response.text
    other = response.json()
    assert other.keys() == original.keys()
    assert (other["answer"], other["mode"]) == (original["answer"], "completion")
    assert other["message_id"] != original["message_id"]
    assert (await completion.get(f"/v1/messages/{original['message_id']}")).json()["answer"] == original["answer"]


async def test_more_like_this_as_a_stream(completion):
    original = await complete(completion)
    events = events_of((await more_like_this(completion, original["message_id"], response_mode="streaming")).text)

    assert answer_of(events) == "a poem"
    assert events[-1]["event"] == "message_end"
    assert {event["message_id"] for event in events}.isdisjoint({original["message_id"]})


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 400, "invalid_param"),
        ({"response_mode": ""}, 400, "invalid_param"),
        ({"response_mode": "whole"}, 400, "invalid_param"),
        ({"response_mode": "blocking", "user": "eve"}, 404, "not_found"),
    ],
)
async def test_what_is_refused(completion, query, status, code):
    response = await more_like_this(completion, (await complete(completion))["message_id"], **query)
    assert (response.status_code, response.json()["code"]) == (status, code)
    if status == 400:
        assert response.json()["params"] == "response_mode"


async def test_switched_off(server):
    client = await server.new_client("completion")
    response = await more_like_this(client, (await complete(client))["message_id"], response_mode="blocking")
    assert (response.status_code, response.json()["code"]) == (403, "app_more_like_this_disabled")


async def test_a_chat_gives_no_more(chat):
    response = await more_like_this(chat, (await ask(chat))["message_id"], response_mode="blocking")
    assert (response.status_code, response.json()["code"]) == (403, "not_completion_app")


async def test_the_files_of_the_original_go_with_it(server):
    features = {"more_like_this": {"enabled": True}, "file_upload": {"enabled": True}}
    client = server.client(await server.new_key("completion", configuration=features, tokens=1))
    picture = await uploaded(client)
    file = {"type": "image", "transfer_method": "local_file", "upload_file_id": picture["id"]}
    original = await complete(client, files=[file])

    other = (await more_like_this(client, original["message_id"], response_mode="blocking")).json()
    shown = [(await client.get(f"/v1/messages/{one['message_id']}")).json() for one in (original, other)]
    (first,), (again,) = [message["message_files"] for message in shown]
    assert (again["upload_file_id"], again["filename"]) == (first["upload_file_id"], first["filename"])
