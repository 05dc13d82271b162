"""Dead letters over HTTP: for operators alone."""

from uuid import UUID

import pytest

from chatledger.domain.message import Message
from tests.support.chatting import ask
from tests.support.server import a_context, chat_body, until

LETTERS = "/v1/admin/dead-letters"
NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def operator(server):
    return server.client(await server.new_token("operate"))


async def fail(chat, kind="invalid", **more):
    """A message that has failed, as the 202 tells of it."""
    body = chat_body(f"/script fail_as={kind}", response_mode="async", **more)
    sent = (await chat.post("/v1/chat-messages", json=body)).json()

    async def errored():
        return (await chat.get(f"/v1/tasks/{sent['task_id']}")).json()["status"] == "errored"

    await until(errored)
    return sent


async def test_an_operator_finds_what_failed_and_has_it_asked_again(server, operator):
    app = await server.new_app()
    chat = server.client(app.api_key)
    first = await ask(chat)
    sent = await fail(chat, conversation_id=first["conversation_id"])

    page = (await operator.get(LETTERS, params={"app_id": str(app.app_id)})).json()
    assert (page["has_more"], page["cursor"]) == (False, None)
    (letter,) = page["data"]
    assert {name: letter[name] for name in ("message_id", "task_id", "conversation_id")} == {
        name: sent[name] for name in ("message_id", "task_id", "conversation_id")
    }
    assert (letter["app_id"], letter["mode"], letter["generator"]) == (str(app.app_id), "chat", "scripted")
    assert (letter["code"], letter["attempts"], letter["replays"]) == ("completion_request_error", 1, [])

    shown = (await operator.get(f"{LETTERS}/{sent['message_id']}")).json()
    assert {name: shown[name] for name in letter} == letter
    assert shown["error"] == {"code": "completion_request_error", "message": "scripted failure: invalid"}
    (attempt,) = shown["history"]
    assert (attempt["attempt"], attempt["outcome"], attempt["detail"]) == (1, "failed", "scripted failure: invalid")
    assert "/script" not in str(shown), "what was asked is read as a message"

    replayed = await operator.post(f"{LETTERS}/{sent['message_id']}/replay")
    assert replayed.status_code == 202
    again = replayed.json()
    assert again["status"] == "queued"
    assert again["conversation_id"] == sent["conversation_id"]
    assert replayed.headers["location"] == f"/v1/tasks/{again['task_id']}"
    detail = (await chat.get(f"/v1/messages/{sent['message_id']}")).json()
    assert detail["siblings"] == [again["message_id"]]
    assert (await operator.get(f"{LETTERS}/{sent['message_id']}")).json()["replays"] == [again["message_id"]]

    auditor = server.client(await server.new_token("audit"))
    (created, *_) = (await auditor.get(f"/v1/messages/{again['message_id']}/events")).json()["data"]
    errored = (await auditor.get(f"/v1/messages/{sent['message_id']}/events")).json()["data"][-1]
    assert created["data"]["replayed_from"] == sent["message_id"]
    assert created["actor"]["kind"] == "operator"
    assert UUID(created["actor"]["id"])
    assert created["causation_id"] == errored["id"]
    assert created["correlation_id"] == replayed.headers["x-request-id"]


async def test_a_list_by_code_and_by_what_is_open_page_by_page(server, operator):
    app = await server.new_app()
    chat = server.client(app.api_key)
    failed = [await fail(chat, kind) for kind in ("invalid", "quota", "invalid", "quota", "invalid")]
    newest_first = [sent["message_id"] for sent in reversed(failed)]

    async def all_pages(**params):
        found, cursor, has_more = [], "", True
        while has_more:
            given = {"app_id": str(app.app_id), "limit": 2, "cursor": cursor} | params
            page = (await operator.get(LETTERS, params=given)).json()
            found += [letter["message_id"] for letter in page["data"]]
            cursor, has_more = page["cursor"], page["has_more"]
        return found

    assert await all_pages() == newest_first
    assert await all_pages(code="completion_request_error") == newest_first[::2]
    assert await all_pages(code="provider_quota_exceeded") == newest_first[1::2]
    assert await all_pages(code="invalid_param") == []
    assert await all_pages(open="true") == newest_first
    assert await all_pages(open="false") == []


async def test_a_replay_that_is_done_already(server, operator):
    """A message that failed though nothing is wrong with it: its replays complete."""
    chat = await server.new_client(tokens=2)
    running = server.running
    sent = (
        await chat.post("/v1/chat-messages", json=chat_body("/script first_token_ms=60000", response_mode="async"))
    ).json()
    path = f"{LETTERS}/{sent['message_id']}/replay"
    await running.ledger.decide(
        Message,
        UUID(sent["message_id"]),
        lambda staged: staged.aggregate.fail(staged.aggregate.attempt, "internal_server_error", "told to"),
        a_context(),
    )

    first = await operator.post(path, json={"force": False})
    assert first.status_code == 202
    refused = await operator.post(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_replayed")
    forced = await operator.post(path, json={"force": True})
    assert forced.status_code == 202
    shown = (await operator.get(f"{LETTERS}/{sent['message_id']}")).json()
    assert shown["replays"] == [first.json()["message_id"], forced.json()["message_id"]]


async def test_whom_dead_letters_are_shown(server):
    chat = await server.new_client(tokens=1)
    sent = await fail(chat)
    paths = [
        ("GET", LETTERS),
        ("GET", f"{LETTERS}/{sent['message_id']}"),
        ("POST", f"{LETTERS}/{sent['message_id']}/replay"),
    ]
    refusals = [
        (server.client(), 401, "unauthorized"),
        (server.client("app-unknown"), 401, "unauthorized"),
        (server.client("op-unknown"), 401, "unauthorized"),
        (chat, 403, "forbidden"),
        (server.client(await server.new_token("audit", "erase")), 403, "forbidden"),
    ]
    head = await server.head()
    for client, status, code in refusals:
        for method, path in paths:
            response = await client.request(method, path)
            assert (response.status_code, response.json()["code"]) == (status, code)
            assert ("www-authenticate" in response.headers) == (status == 401)
    assert await server.head() == head


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"app_id": "5"}, "app_id"),
        ({"code": "bad_luck"}, "code"),
        ({"open": "perhaps"}, "open"),
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"cursor": "5"}, "cursor"),
        ({"cursor": NOWHERE}, "cursor"),
    ],
)
async def test_a_list_asked_for_wrongly(operator, params, field):
    response = await operator.get(LETTERS, params=params)
    assert (response.status_code, response.json()["code"], response.json()["params"]) == (400, "invalid_param", field)


async def test_a_replay_asked_for_wrongly(server, operator):
    answered = await ask(await server.new_client(tokens=1))
    for message_id in (NOWHERE, answered["id"]):
        for response in (
            await operator.get(f"{LETTERS}/{message_id}"),
            await operator.post(f"{LETTERS}/{message_id}/replay", json={}),
        ):
            assert (response.status_code, response.json()["code"]) == (404, "not_found")
    response = await operator.post(f"{LETTERS}/{NOWHERE}/replay", json={"force": "perhaps"})
    assert (response.status_code, response.json()["params"]) == (400, "force")
