"""Erasing, holding and reading over HTTP: who may, what is left to see, and what is on record."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest

from chatledger.application.caller import Auditor
from chatledger.domain.operator import CONSOLE_ID
from tests.support.chatting import ask, history
from tests.support.databases import ON_SQLITE
from tests.support.server import a_context, until

USERS, ERASURES, HOLDS = "/v1/admin/users", "/v1/admin/erasures", "/v1/admin/holds"
NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def eraser(server):
    return server.client(await server.new_token("erase"))


@pytest.fixture
async def auditor(server):
    return server.client(await server.new_token("audit"))


@pytest.fixture
async def operator(server):
    return server.client(await server.new_token("operate"))


async def is_erased(client, person: str) -> bool:
    return (await client.get(f"{ERASURES}/{person}")).json()["erased_position"] is not None


async def erase(client, app, user: str = "ada") -> dict[str, Any]:
    response = await client.post(f"{USERS}/erase", json={"app_id": str(app.app_id), "user": user})
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"{ERASURES}/{response.json()['end_user_id']}"
    person = response.json()["end_user_id"]
    await until(partial(is_erased, client, person))
    return (await client.get(f"{ERASURES}/{person}")).json()


async def codes(client, *paths: str) -> list[tuple[int, str]]:
    answers = [await client.get(path) for path in paths]
    return [(answer.status_code, answer.json()["code"]) for answer in answers]


async def test_what_is_left_of_an_erased_person(server, eraser, auditor):
    app = await server.new_app(tokens=2)
    chat = server.client(app.api_key)
    answer = await ask(chat, user="ada")
    message, conversation = answer["message_id"], answer["conversation_id"]
    rating = {"rating": "like", "content": "mine", "user": "ada"}
    await chat.post(f"/v1/messages/{message}/feedbacks", json=rating)
    uploaded = (
        await chat.post("/v1/files/upload", data={"user": "ada"}, files={"file": ("a.txt", b"mine", "text/plain")})
    ).json()
    receipt = (await chat.get(f"/v1/messages/{message}/receipt")).content
    erasure = await erase(eraser, app)
    person = erasure["end_user_id"]

    gone = [f"/v1/messages/{message}", f"/v1/messages/{message}/stream", f"/v1/end-users/{person}"]
    assert await codes(chat, *gone, f"/v1/conversations/{conversation}/stream") == [(410, "erased")] * 4
    assert await codes(auditor, *gone[:2]) == [(410, "erased")] * 2
    assert await codes(chat, f"/v1/messages/{message}?user=ada") == [(404, "not_found")]
    assert (await chat.get(uploaded["source_url"])).json()["code"] == "erased"
    (listed,) = (await history(chat, conversation))["data"]
    assert listed["erased"] is True
    empty = {"query": "", "answer": "", "inputs": {}, "message_files": [], "agent_thoughts": [], "status": "normal"}
    assert {name: listed[name] for name in empty} == empty
    (rated,) = (await chat.get("/v1/app/feedbacks")).json()["data"]
    assert (rated["rating"], rated["content"], rated["erased"]) == ("like", None, True)
    assert "true" in (await chat.get("/v1/app/feedbacks?format=csv")).text.lower()

    events = (await auditor.get(f"/v1/messages/{message}/events")).json()["data"]
    assert events[0]["type"] == "MessageCreated"
    assert "hello" not in str(events)
    after = (await auditor.get(f"/v1/messages/{message}/receipt")).json()
    assert [each["proof"][:20] for each in after["events"][:1]] == ["c2sp.org/tlog-proof@"]
    assert receipt
    proof = (await eraser.get(f"{ERASURES}/{person}/receipt")).json()
    assert proof["subject"] == {"kind": "end_user", "id": person}


async def test_who_was_not_erased_has_no_mark_anywhere(server):
    chat = await server.new_client(tokens=1)
    answer = await ask(chat, user="ada")
    (listed,) = (await history(chat, answer["conversation_id"]))["data"]
    (conversation,) = (await chat.get("/v1/conversations?user=ada")).json()["data"]
    assert "erased" not in listed
    assert "erased" not in conversation


async def test_a_hold_is_in_the_way(server, eraser, operator, auditor):
    now = (await auditor.get("/v1/events", params={"after": "now"})).json()["cursor"]
    app = await server.new_app(tokens=1)
    await ask(server.client(app.api_key), user="ada")
    body = {"app_id": str(app.app_id), "user": "ada"}
    held = await operator.post(f"{USERS}/hold", json=body | {"reason": "a case"})
    assert held.status_code == 201
    hold = held.json()
    assert (await auditor.get(HOLDS, params={"app_id": body["app_id"]})).json()["data"] == [hold]
    feed = await auditor.get("/v1/events", params={"types": "ContentRead", "after": now})
    assert ("app", body["app_id"]) in [
        (event["data"]["subject"], event["data"]["subject_id"]) for event in feed.json()["data"]
    ]
    refused = await eraser.post(f"{USERS}/erase", json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "legal_hold")
    assert (await operator.post(f"{HOLDS}/{hold['hold_id']}/release")).status_code == 204
    assert (await operator.post(f"{HOLDS}/{hold['hold_id']}/release")).status_code == 404
    assert await erase(eraser, app)


@ON_SQLITE
async def test_asking_again_by_the_own_id_is_harmless_and_a_hold_is_too_late(server, eraser, operator):
    app = await server.new_app(tokens=1)
    chat, named = server.client(app.api_key), {"app_id": str(app.app_id), "user": "ada"}
    await ask(chat, user="ada")
    erasure = await erase(eraser, app)
    await ask(chat, user="ada")
    own = {"end_user_id": erasure["end_user_id"]}
    again = await eraser.post(f"{USERS}/erase", json=own)
    assert (again.status_code, again.json()) == (202, erasure)
    paths = ((operator, f"{USERS}/hold", {"reason": "r"}), (operator, f"{USERS}/rotate-key", {}))
    for client, path, more in paths:
        refused = await client.post(path, json=own | more)
        assert (refused.status_code, refused.json()["code"]) == (410, "erased")
    for client, path, more in (*paths, (eraser, f"{USERS}/erase", {})):
        unknown = await client.post(path, json={"end_user_id": NOWHERE} | more)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "end_user_not_found")
        assert (await client.post(path, json={"end_user_id": "ada"} | more)).json()["params"] == "end_user_id"
    placed = await operator.post(f"{USERS}/hold", json=named | {"reason": "r"})
    assert placed.json()["end_user_id"] != own["end_user_id"]
    held = await operator.post(f"{USERS}/hold", json={"end_user_id": placed.json()["end_user_id"], "reason": "r"})
    assert held.status_code == 201


async def test_who_may_do_what(server, eraser, operator, auditor):
    app = await server.new_app(tokens=1)
    chat, person = server.client(app.api_key), {"app_id": str(app.app_id), "user": "ada"}
    await ask(chat, user="ada")
    keep = f"/v1/admin/apps/{app.app_id}/retention"
    token = {"name": "Eve", "scopes": ["erase"]}
    for method, path, body, allowed in (
        ("POST", f"{USERS}/erase", person | {"user": "nobody"}, [eraser]),
        ("GET", ERASURES, None, [eraser, auditor]),
        ("GET", f"{ERASURES}/{NOWHERE}", None, [eraser, auditor]),
        ("GET", f"{ERASURES}/{NOWHERE}/receipt", None, [eraser, auditor]),
        ("POST", f"{USERS}/hold", person | {"user": "nobody", "reason": "r"}, [operator]),
        ("GET", HOLDS, None, [operator, auditor]),
        ("POST", f"{HOLDS}/{NOWHERE}/release", None, [operator]),
        ("POST", keep, {"retention_days": None}, [operator]),
        ("GET", "/v1/admin/operators", None, [operator, auditor]),
        ("POST", "/v1/admin/operators", token | {"scopes": ["operate"]}, [operator]),
        ("POST", f"/v1/admin/operators/{NOWHERE}/revoke", None, [operator]),
    ):
        for client in (chat, eraser, operator, auditor):
            answer = await client.request(method, path, json=body)
            assert (answer.status_code == 403) == (client not in allowed), (method, path, answer.text)
    for scopes, status in ((("operate",), 403), (("erase",), 403), (("operate", "erase"), 200)):
        client = server.client(await server.new_token(*scopes))
        assert (await client.post(keep, json={"retention_days": 36_500})).status_code == status, scopes
    refused = await operator.post("/v1/admin/operators", json=token)
    assert (refused.status_code, refused.json()["message"]) == (403, "The token needs the scope erase to give it out.")


async def test_a_revoked_token_opens_nothing(server, operator):
    issued = (await operator.post("/v1/admin/operators", json={"name": "Eve", "scopes": ["operate"]})).json()
    eve = server.client(issued["token"])
    found = (await eve.get("/v1/admin/operators")).json()["data"]
    assert ("Eve", ["operate"]) in [(each["name"], each["scopes"]) for each in found]
    assert (await operator.post(f"/v1/admin/operators/{issued['operator_id']}/revoke")).status_code == 204
    assert (await eve.get("/v1/admin/operators")).status_code == 401


async def test_what_an_operator_reads_is_on_record_once_an_hour_and_before_it_is_shown(server):
    chat = await server.new_client(tokens=1)
    answer = await ask(chat, user="ada")
    token = await server.new_token("audit")
    auditor, operator_id = (
        server.client(token),
        (await server.running.application.credentials.operator(token)).operator_id,
    )
    message, conversation = answer["message_id"], answer["conversation_id"]

    async def reads(stream: UUID) -> list[tuple[str, str]]:
        facts, _ = await server.running.application.facts.stream(stream, 0, 100)
        bodies = [fact.envelope.body for fact in facts]
        return [(body.subject, str(body.subject_id)) for body in bodies if type(body).__name__ == "ContentRead"]

    assert await reads(operator_id) == []
    for _ in range(2):
        assert (await auditor.get(f"/v1/messages/{message}")).status_code == 200
        assert (await auditor.get(f"/v1/messages/{message}/events")).status_code == 200
        assert (await auditor.get(f"/v1/conversations/{conversation}/events")).status_code == 200
        assert (await chat.get(f"/v1/messages/{message}")).status_code == 200
    assert await reads(operator_id) == [("message", message), ("conversation", conversation)]
    assert (await auditor.get(f"/v1/messages/{NOWHERE}")).status_code == 404
    assert len(await reads(operator_id)) == 2

    before = await reads(CONSOLE_ID)
    host = server.running.application
    await host.reads.note(_host(), "message", UUID(message))
    assert await reads(CONSOLE_ID) == [*before, ("message", message)]


def _host() -> Auditor:

    return Auditor(operator_id=None, correlation_id=a_context().correlation_id)
