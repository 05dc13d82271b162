"""What was answered at an earlier moment, asked for by position and by time, and who may ask."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from chatledger.application.queries import past
from tests.support.chatting import ask, history
from tests.support.server import DEADLINE, LiveServer
from tests.support.unknown_events import append_unknown


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(text="A ledger.")


async def body(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def last_position(server: LiveServer) -> int:
    return (await server.running.store.head()).position


async def test_every_answer_is_what_it_was(server: LiveServer, chat: httpx.AsyncClient) -> None:
    first = await ask(chat, "What is a ledger?")
    message, conversation = f"/v1/messages/{first['id']}", first["conversation_id"]
    await chat.post(f"{message}/feedbacks", json={"rating": "like", "content": "yes", "user": "ada"})
    questions = (
        ("/v1/messages", {"conversation_id": conversation}),
        (message, {"user": "ada"}),
        ("/v1/conversations", {"user": "ada"}),
        ("/v1/app/feedbacks", {}),
    )
    before = [await body(chat, path, **params) for path, params in questions]
    position, moment = await last_position(server), datetime.now(UTC).isoformat().replace("+00:00", "Z")

    await ask(chat, "And a book?", conversation_id=conversation)
    await chat.post(f"{message}/feedbacks", json={"rating": None, "user": "ada"})
    await chat.post(f"/v1/conversations/{conversation}/name", json={"name": "Books", "user": "ada"})
    await chat.request("DELETE", f"/v1/conversations/{conversation}", json={"user": "ada"})

    for as_of in (position, moment):
        assert [await body(chat, path, **params, as_of=as_of) for path, params in questions] == before
    assert (await chat.get(message, params={"user": "ada"})).status_code == 404


async def test_an_answer_in_the_making(server: LiveServer, chat: httpx.AsyncClient) -> None:
    answer = await ask(chat, "/script tokens=5 interval_ms=60")
    facts = await body(chat, f"/v1/messages/{answer['id']}/events", limit=100)
    chunks = [event for event in facts["data"] if event["type"] == "AnswerChunkAppended"]

    told = ""
    for chunk in chunks[:-1]:
        told += chunk["data"]["text"]
        then = await body(chat, f"/v1/messages/{answer['id']}", as_of=chunk["position"])
        assert (then["answer"], then["version"], then["total_tokens"]) == (told, chunk["version"], 0)
        (listed,) = (await history(chat, answer["conversation_id"], as_of=chunk["at"]))["data"]
        assert listed["answer"] == told


async def test_before_it_began_there_was_nothing(server: LiveServer, chat: httpx.AsyncClient) -> None:
    before = await last_position(server)
    answer = await ask(chat)

    for as_of in (0, before, "2000-01-01T00:00:00Z"):
        for path in (f"/v1/messages/{answer['id']}?", f"/v1/messages?conversation_id={answer['conversation_id']}&"):
            assert (await chat.get(f"{path}as_of={as_of}")).status_code == 404
        assert (await body(chat, "/v1/conversations", user="ada", as_of=as_of))["data"] == []
        assert (await body(chat, "/v1/app/feedbacks", as_of=as_of))["data"] == []


async def test_the_past_has_the_owners_that_the_present_has(server: LiveServer, chat: httpx.AsyncClient) -> None:
    answer = await ask(chat)
    position, path = await last_position(server), f"/v1/messages/{answer['id']}"
    others, auditor = await server.new_client(), server.client(await server.new_token("audit"))
    await chat.request("DELETE", f"/v1/conversations/{answer['conversation_id']}", json={"user": "ada"})
    deleted = await last_position(server)

    assert (await others.get(path, params={"as_of": position})).status_code == 404
    assert (await chat.get(path, params={"as_of": position, "user": "grace"})).status_code == 404
    for as_of in (position, deleted):
        assert (await body(auditor, path, as_of=as_of))["answer"] == "A ledger."
    assert (await chat.get(path, params={"as_of": deleted})).status_code == 404


async def test_whose_it_is_comes_before_what_it_is(serve) -> None:
    async with serve() as server:
        answer = await ask(await server.new_client(tokens=1))
        await append_unknown(server.running, UUID(answer["id"]))
        position, others = await last_position(server), await server.new_client()
        for path in (f"/v1/messages/{answer['id']}?", f"/v1/messages?conversation_id={answer['conversation_id']}&"):
            assert (await others.get(f"{path}as_of={position}")).status_code == 404


async def test_a_short_page_leads_on_where_most_were_deleted(server, chat, monkeypatch) -> None:
    conversations = [(await ask(chat))["conversation_id"] for _ in range(6)]
    for deleted in conversations[1:-1]:
        await chat.request("DELETE", f"/v1/conversations/{deleted}", json={"user": "ada"})
    monkeypatch.setattr(past, "LOOKED_AT", 2)
    asked = {"user": "ada", "limit": 3, "as_of": await last_position(server)}
    first = await body(chat, "/v1/conversations", **asked)
    assert ([each["id"] for each in first["data"]], first["has_more"]) == ([conversations[-1]], True)
    second = await body(chat, "/v1/conversations", **asked, last_id=conversations[-1])
    assert ([each["id"] for each in second["data"]], second["has_more"]) == ([conversations[0]], False)


async def test_leading_zeros_count_for_nothing(server: LiveServer, chat: httpx.AsyncClient) -> None:
    answer = await ask(chat)
    path, position = f"/v1/messages/{answer['id']}", await last_position(server)
    assert (await body(chat, path, as_of=f"{position:030d}"))["id"] == answer["id"]


async def test_all_ratings_that_stood_as_a_file(server: LiveServer, chat: httpx.AsyncClient) -> None:
    for _ in range(3):
        answer = await ask(chat)
        await chat.post(f"/v1/messages/{answer['id']}/feedbacks", json={"rating": "like", "user": "ada"})
    withdrawn = f"/v1/messages/{(await ask(chat))['id']}/feedbacks"
    for rating in ("like", None):
        await chat.post(withdrawn, json={"rating": rating, "user": "ada"})
    position, before = await last_position(server), (await chat.get("/v1/app/feedbacks?format=csv")).text
    page = await body(chat, "/v1/app/feedbacks", limit=2)
    await chat.post(f"/v1/messages/{answer['id']}/feedbacks", json={"rating": "dislike", "user": "ada"})

    assert len(page["data"]) == 2
    assert await body(chat, "/v1/app/feedbacks", limit=2, as_of=position) == page
    assert (await chat.get("/v1/app/feedbacks?format=csv")).text != before
    assert (await chat.get(f"/v1/app/feedbacks?format=csv&as_of={position}")).text == before
    refused = await chat.get(f"/v1/app/feedbacks?format=csv&as_of={position + 10**6}")
    assert (refused.status_code, refused.json()["params"]) == (400, "as_of")


async def test_what_was_erased_reads_as_erased_in_any_past(server: LiveServer, chat: httpx.AsyncClient) -> None:
    answer = await ask(chat, "a secret")
    await chat.post(f"/v1/messages/{answer['id']}/feedbacks", json={"rating": "like", "content": "mine", "user": "ada"})
    position, params = await last_position(server), {"conversation_id": answer["conversation_id"]}
    (listed,) = (await body(chat, "/v1/messages", **params))["data"]
    eraser = server.client(await server.new_token("erase", "audit"))
    (rated,) = (await body(chat, "/v1/app/feedbacks"))["data"]
    erased = await eraser.post("/v1/admin/users/erase", json={"app_id": rated["app_id"], "user": "ada"})
    assert erased.is_success, erased.text
    await server.running.application.erasing.until_done(UUID(erased.json()["end_user_id"]), DEADLINE)

    then = await chat.get("/v1/messages", params=params | {"as_of": position})
    assert "secret" not in then.text
    (tombstone,) = then.json()["data"]
    assert (tombstone["id"], tombstone["created_at"]) == (listed["id"], listed["created_at"])
    gone = await chat.get(f"/v1/messages/{answer['id']}", params={"as_of": position})
    assert (gone.status_code, gone.json()["code"]) == (410, "erased")
    ratings = await chat.get("/v1/app/feedbacks", params={"as_of": position})
    assert "mine" not in ratings.text
    assert [entry["message_id"] for entry in ratings.json()["data"]] == [answer["id"]]
