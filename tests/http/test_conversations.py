"""Naming and deleting conversations, their variables, and the trees that their messages grow into."""

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.support.features import PNG
from tests.support.server import LiveServer, chat_body, events_of, until

NOWHERE = "00000000-0000-4000-8000-000000000000"
NIL = str(uuid.UUID(int=0))
GONE = (404, "not_found", "Conversation Not Exists.")
NO_MESSAGE = (404, "not_found", "Message Not Exists.")

VARIABLES = [
    {"name": "mood", "default": "calm", "description": "How to sound."},
    {"name": "Visits", "value_type": "number", "default": 2},
    {"name": "token", "value_type": "secret", "default": "hush"},
    {"name": "open", "value_type": "boolean"},
    {"name": "profile", "value_type": "object", "default": {"age": 7}},
    {"name": "picture", "value_type": "file"},
    {"name": "tags", "value_type": "array[string]", "default": ["a"]},
]


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    configuration = {"conversation_variables": VARIABLES, "settings": {"tokens": 2}}
    return server.client(await server.new_key(configuration=configuration))


async def ask(client: httpx.AsyncClient, query: str = "hello", **more: Any) -> dict[str, Any]:
    response = await client.post("/v1/chat-messages", json=chat_body(query, **more))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def message(client: httpx.AsyncClient, message_id: str) -> dict[str, Any]:
    response = await client.get(f"/v1/messages/{message_id}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    return response.status_code, body["code"], body["message"]


# Naming


async def test_a_name_that_a_user_gives(chat):
    asked = await ask(chat)
    before = (await chat.get("/v1/conversations", params={"user": "ada"})).json()["data"][0]

    renamed = await chat.post(
        f"/v1/conversations/{asked['conversation_id']}/name", json={"name": "  Mine ", "user": "ada"}
    )

    assert renamed.status_code == 200
    assert renamed.json() == before | {"name": "Mine", "updated_at": renamed.json()["updated_at"]}
    assert (await chat.get("/v1/conversations", params={"user": "ada"})).json()["data"] == [renamed.json()]


async def test_a_manual_name_moves_the_conversation_to_the_front_and_an_automatic_one_does_not(chat):
    first, second = await ask(chat, "first"), await ask(chat, "second")

    async def front() -> str:
        listed = (await chat.get("/v1/conversations", params={"user": "ada", "limit": 1})).json()["data"]
        return listed[0]["id"]

    path = f"/v1/conversations/{first['conversation_id']}/name"
    await chat.post(path, json={"name": "Mine"})
    assert await front() == first["conversation_id"]
    await ask(chat, "again", conversation_id=second["conversation_id"])
    assert (await chat.post(path, json={"auto_generate": True})).json()["name"] == "first"
    assert await front() == second["conversation_id"]


async def test_a_name_that_is_made_of_the_first_message(chat):
    query = "What is a ledger, and who would ever want to read one?"
    asked = await ask(chat, query)
    path = f"/v1/conversations/{asked['conversation_id']}/name"
    await ask(chat, "Another question", conversation_id=asked["conversation_id"])
    await chat.post(path, json={"name": "Mine"})

    named = await chat.post(path, json={"auto_generate": True, "name": "Not this", "user": "ada"})

    assert (named.status_code, named.json()["name"]) == (200, query[:47] + "...")


@pytest.mark.parametrize(
    ("script", "name"), [({"title": "A greeting"}, "A greeting"), ({"text_fail_as": "transient"}, "Mine")]
)
async def test_a_name_that_a_model_finds_and_one_that_it_does_not(server, script, name):
    client = await server.new_client(tokens=1, **script)
    asked = await ask(client, auto_generate_name=False)
    path = f"/v1/conversations/{asked['conversation_id']}/name"
    await client.post(path, json={"name": "Mine"})

    named = await client.post(path, json={"auto_generate": True})

    assert (named.status_code, named.json()["name"]) == (200, name)


@pytest.mark.parametrize("body", [{}, {"name": None}, {"name": " \t"}, {"name": "", "auto_generate": False}])
async def test_no_name_is_refused(chat, body):
    asked = await ask(chat)
    response = await chat.post(f"/v1/conversations/{asked['conversation_id']}/name", json=body)
    assert refusal(response) == (400, "invalid_param", "name is required when auto_generate is false")
    assert response.json()["params"] == "name"


# Deleting


async def test_a_deleted_conversation_is_gone_for_its_users_and_stays_on_the_ledger(server, chat):
    asked, other = await ask(chat), await ask(chat, "another")
    conversation = f"/v1/conversations/{asked['conversation_id']}"
    of_message = f"/v1/messages/{asked['message_id']}"
    variable = (await chat.get(f"{conversation}/variables")).json()["data"][0]["id"]

    deleted = await chat.request("DELETE", conversation, json={"user": "ada"})

    assert (deleted.status_code, deleted.content) == (204, b"")
    listed = (await chat.get("/v1/conversations", params={"user": "ada"})).json()["data"]
    assert [entry["id"] for entry in listed] == [other["conversation_id"]]
    for response in (
        await chat.request("DELETE", conversation, json={"user": "ada"}),
        await chat.get("/v1/messages", params={"conversation_id": asked["conversation_id"], "user": "ada"}),
        await chat.post("/v1/chat-messages", json=chat_body(conversation_id=asked["conversation_id"])),
        await chat.post(f"{conversation}/name", json={"name": "Mine"}),
        await chat.post(f"{conversation}/name", json={"auto_generate": True}),
        await chat.get(f"{conversation}/variables"),
        await chat.put(f"{conversation}/variables/{variable}", json={"value": "x"}),
    ):
        assert refusal(response) == GONE
    for response in (await chat.get(of_message), await chat.post(f"{of_message}/regenerate", json={})):
        assert refusal(response) == NO_MESSAGE
    assert (await chat.post(f"{of_message}/feedbacks", json={"rating": "like", "user": "ada"})).status_code == 200
    assert [entry["message_id"] for entry in (await chat.get("/v1/app/feedbacks")).json()["data"]] == [
        asked["message_id"]
    ]
    auditor = server.client(await server.new_token("audit"))
    assert (await message(auditor, asked["message_id"]))["answer"] == "t0 t1 "


async def test_a_deletion_without_a_body_and_one_of_a_foreign_conversation(server, chat):
    asked = await ask(chat)
    path = f"/v1/conversations/{asked['conversation_id']}"
    stranger = await server.new_client(tokens=1)

    assert refusal(await chat.request("DELETE", path, json={"user": "bob"})) == GONE
    assert refusal(await stranger.delete(path)) == GONE
    assert refusal(await chat.delete(f"/v1/conversations/{NOWHERE}")) == GONE
    assert (await chat.delete(path)).status_code == 204


async def test_a_deletion_stops_what_is_being_answered(chat):
    query = "/script tokens=1000 interval_ms=50"
    async with chat.stream("POST", "/v1/chat-messages", json=chat_body(query, response_mode="streaming")) as response:
        text, deleted = "", None
        async for piece in response.aiter_text():
            text += piece
            events = events_of(text[: text.rfind("\n\n") + 2])
            if events and deleted is None:
                deleted = await chat.delete(f"/v1/conversations/{events[0]['conversation_id']}")
                assert deleted.status_code == 204
    end = events_of(text)[-1]
    assert (end["event"], end["metadata"]["status"]) == ("message_end", "stopped")


# Variables


async def test_the_variables_that_a_conversation_begins_with(chat):
    asked = await ask(chat)
    path = f"/v1/conversations/{asked['conversation_id']}/variables"

    page = (await chat.get(path, params={"user": "ada"})).json()

    assert (page["limit"], page["has_more"]) == (20, False)
    assert [(entry["name"], entry["value_type"], entry["value"]) for entry in page["data"]] == [
        ("mood", "string", "calm"),
        ("Visits", "number", "2"),
        ("token", "secret", "********"),
        ("open", "boolean", "false"),
        ("profile", "object", '{"age":7}'),
        ("picture", "file", ""),
        ("tags", "array[string]", '["a"]'),
    ]
    first = page["data"][0]
    assert first["description"] == "How to sound."
    assert isinstance(first["created_at"], int)
    assert first["updated_at"] == first["created_at"]


async def test_variables_page_by_page_and_by_name(chat):
    asked = await ask(chat)
    path = f"/v1/conversations/{asked['conversation_id']}/variables"
    names: list[str] = []
    last_id, has_more = "", True
    while has_more:
        page = (await chat.get(path, params={"limit": 3, "last_id": last_id})).json()
        names += [entry["name"] for entry in page["data"]]
        last_id, has_more = page["data"][-1]["id"], page["has_more"]
    assert names == [declared["name"] for declared in VARIABLES]

    async def named(name: str) -> list[str]:
        return [entry["name"] for entry in (await chat.get(path, params={"variable_name": name})).json()["data"]]

    assert await named("visits") == ["Visits"]
    assert await named("visit") == []
    assert await named("") == names
    for params, reason in [
        ({"last_id": NOWHERE}, ""),
        ({"last_id": "no-uuid"}, "last_id must be a valid UUID"),
        ({"limit": 0}, "limit must be an integer between 1 and 100"),
        (
            {"variable_name": "a b"},
            "variable_name must be 1 to 255 letters, digits, hyphens, underscores and dots",
        ),
    ]:
        assert refusal(await chat.get(path, params=params)) == (400, "invalid_param", reason)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("mood", "wild", "wild"),
        ("mood", "wi\0ld", "wild"),
        ("visits", 2.5, "2.5"),
        ("token", "psst", "********"),
        ("open", True, "true"),
        ("profile", {"age": 8}, '{"age":8}'),
        ("profile", {"a\0": ["\0b"]}, '{"a":["b"]}'),
        ("tags", [], "[]"),
        (
            "picture",
            {"type": "image", "transfer_method": "remote_url", "url": "https://example.org/a.png"},
            '{"type":"image","transfer_method":"remote_url","url":"https://example.org/a.png"}',
        ),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_variable_takes_values_of_its_type(chat, method, name, value, shown):
    asked = await ask(chat)
    path = f"/v1/conversations/{asked['conversation_id']}/variables"
    before = (await chat.get(path, params={"variable_name": name})).json()["data"][0]

    changed = await chat.request(method, f"{path}/{before['id']}", json={"value": value, "user": "ada"})

    assert changed.status_code == 200
    assert changed.json() == before | {"value": shown, "updated_at": changed.json()["updated_at"]}
    assert (await chat.get(path, params={"variable_name": name})).json()["data"] == [changed.json()]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mood", 5, "Type mismatch: variable 'mood' expects string, but got number type"),
        ("visits", "5", "Type mismatch: variable 'Visits' expects number, but got string type"),
        ("open", 1, "Type mismatch: variable 'open' expects boolean, but got number type"),
        ("profile", [], "Type mismatch: variable 'profile' expects object, but got array[any] type"),
        ("tags", [1], "Type mismatch: variable 'tags' expects array[string], but got array[number] type"),
        ("picture", {"a": 1}, "Type mismatch: variable 'picture' expects file, but got object type"),
        ("token", None, "Type mismatch: variable 'token' expects secret, but got none type"),
    ],
)
async def test_a_value_of_another_type_is_refused(chat, name, value, message):
    asked = await ask(chat)
    path = f"/v1/conversations/{asked['conversation_id']}/variables"
    before = (await chat.get(path, params={"variable_name": name})).json()["data"]

    assert refusal(await chat.put(f"{path}/{before[0]['id']}", json={"value": value})) == (400, "bad_request", message)
    assert (await chat.get(path, params={"variable_name": name})).json()["data"] == before


async def test_a_file_in_a_variable_is_its_owners(chat):
    asked = await ask(chat)
    path = f"/v1/conversations/{asked['conversation_id']}/variables"
    (picture,) = (await chat.get(path, params={"variable_name": "picture"})).json()["data"]

    async def with_a_file_of(user: str) -> httpx.Response:
        given = {"file": ("a.png", PNG, "image/png")}
        uploaded = (await chat.post("/v1/files/upload", files=given, data={"user": user})).json()
        value = {"type": "image", "transfer_method": "local_file", "upload_file_id": uploaded["id"]}
        return await chat.put(f"{path}/{picture['id']}", json={"value": value})

    assert (await with_a_file_of("ada")).status_code == 200
    foreign = await with_a_file_of("bob")
    assert (refusal(foreign)[:2], foreign.json()["params"]) == ((400, "invalid_param"), "value")
    assert "upload_file_id names no file of this user" in foreign.json()["message"]


async def test_variables_that_there_are_not(chat):
    asked, other = await ask(chat), await ask(chat)
    path = f"/v1/conversations/{asked['conversation_id']}/variables"
    variable = (await chat.get(path)).json()["data"][0]["id"]
    missing = (404, "not_found", "Conversation Variable Not Exists.")

    assert refusal(await chat.put(f"{path}/{NOWHERE}", json={"value": "x"})) == missing
    elsewhere = f"/v1/conversations/{other['conversation_id']}/variables/{variable}"
    assert refusal(await chat.put(elsewhere, json={"value": "x"})) == missing
    assert refusal(await chat.put(f"{path}/{variable}", json={"value": "x", "user": "bob"})) == GONE
    no_value = await chat.put(f"{path}/{variable}", json={"user": "ada"})
    assert (refusal(no_value), no_value.json()["params"]) == ((400, "invalid_param", "value is required"), "value")


# Trees


async def test_a_message_that_names_its_parent_stands_beside_those_that_have_the_same(chat):
    root = await ask(chat, "root")
    conversation_id = root["conversation_id"]
    line = await ask(chat, "in line", conversation_id=conversation_id)
    beside = await ask(chat, "beside", conversation_id=conversation_id, parent_message_id=root["message_id"])

    assert (await message(chat, beside["message_id"]))["parent_message_id"] == root["message_id"]
    assert (await message(chat, line["message_id"]))["parent_message_id"] == NIL
    assert (await message(chat, line["message_id"]))["siblings"] == [beside["message_id"]]
    assert (await message(chat, beside["message_id"]))["siblings"] == [line["message_id"]]
    assert (await message(chat, root["message_id"]))["siblings"] == []


@pytest.mark.parametrize("absent", [None, "", NIL])
async def test_a_message_that_names_no_parent_goes_on_in_line(chat, absent):
    root = await ask(chat, "root")
    line = await ask(chat, "line", conversation_id=root["conversation_id"], parent_message_id=absent)
    assert (await message(chat, line["message_id"]))["parent_message_id"] == NIL


async def test_parents_that_there_are_not(server, chat):
    mine, foreign = await ask(chat), await ask(chat, user="bob")
    before = await server.head()
    for parent, conversation in [
        (NOWHERE, mine["conversation_id"]),
        (foreign["message_id"], mine["conversation_id"]),
        (mine["message_id"], None),
    ]:
        body = chat_body(conversation_id=conversation, parent_message_id=parent)
        assert refusal(await chat.post("/v1/chat-messages", json=body)) == NO_MESSAGE
    malformed = await chat.post("/v1/chat-messages", json=chat_body(parent_message_id="msg_1"))
    assert refusal(malformed) == (400, "invalid_param", "parent_message_id must be a valid UUID")
    assert malformed.json()["params"] == "parent_message_id"
    assert await server.head() == before


async def test_the_same_once_more(chat):
    root = await ask(chat, "root")
    first = await ask(chat, "/script text=so_it_is", conversation_id=root["conversation_id"])
    path = f"/v1/messages/{first['message_id']}/regenerate"

    again = (await chat.post(path, json={"user": "ada"})).json()
    without_a_body = (await chat.post(path)).json()

    assert again["conversation_id"] == root["conversation_id"]
    assert again["answer"] == first["answer"]
    three = [first["message_id"], again["message_id"], without_a_body["message_id"]]
    for one in three:
        found = await message(chat, one)
        assert found["query"] == "/script text=so_it_is"
        assert found["siblings"] == [other for other in three if other != one]
    assert (await message(chat, again["message_id"]))["parent_message_id"] == root["message_id"]


async def test_a_first_message_once_more_begins_the_conversation_beside_it(chat):
    root = await ask(chat, "root")
    streamed = await chat.post(f"/v1/messages/{root['message_id']}/regenerate", json={"response_mode": "streaming"})
    again = events_of(streamed.text)[0]["message_id"]
    assert events_of(streamed.text)[-1]["event"] == "message_end"
    assert (await message(chat, again))["parent_message_id"] is None
    assert (await message(chat, again))["siblings"] == [root["message_id"]]
    assert (await message(chat, root["message_id"]))["siblings"] == [again]


async def test_what_cannot_be_asked_once_more(server, chat):
    asked = await ask(chat)
    path = f"/v1/messages/{asked['message_id']}/regenerate"
    completion = await server.new_client("completion", tokens=1)
    before = await server.head()

    assert refusal(await chat.post(path, json={"user": "bob"})) == NO_MESSAGE
    assert refusal(await chat.post(f"/v1/messages/{NOWHERE}/regenerate", json={})) == NO_MESSAGE
    assert refusal(await chat.post(path, json={"response_mode": "no"}))[:2] == (400, "invalid_param")
    assert refusal(await completion.post(path, json={}))[:2] == (400, "not_chat_app")
    assert await server.head() == before


async def test_an_asynchronous_answer_once_more_is_its_askers_own(server, chat):
    asked = await ask(chat)
    accepted = await chat.post(f"/v1/messages/{asked['message_id']}/regenerate", json={"response_mode": "async"})
    assert accepted.status_code == 202

    async def is_done() -> bool:
        return (await chat.get(f"/v1/tasks/{accepted.json()['task_id']}")).json()["status"] == "completed"

    await until(is_done)
    params = {"conversation_id": asked["conversation_id"], "user": "ada"}
    history = (await chat.get("/v1/messages", params=params)).json()["data"]
    assert [entry["id"] for entry in history] == [asked["message_id"], accepted.json()["message_id"]]
    events = (await chat.get(f"/v1/messages/{accepted.json()['message_id']}/events")).json()["data"]
    assert json.dumps(events[0]["data"]["end_user_id"]) in json.dumps(
        (await chat.get(f"/v1/messages/{asked['message_id']}/events")).json()["data"][0]["data"]
    )


# Visitors


async def test_a_visitor_begins_branches_and_narrows_the_list(server):
    site = await server.new_app(tokens=1)
    visitor = server.client(await server.new_passport(site.site_code))

    async def send(query: str, **more: Any) -> dict[str, Any]:
        response = await visitor.post("/api/chat-messages", json={"inputs": {}, "query": query} | more)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    root = await send("root")
    here = root["conversation_id"]
    child = await send("child", conversation_id=here, parent_message_id=root["message_id"])
    again = (await visitor.post(f"/api/messages/{child['message_id']}/regenerate", json={})).json()
    second = await send("second", conversation_id=here, parent_message_id=None)
    history = (await visitor.get("/api/messages", params={"conversation_id": here})).json()["data"]
    assert [(entry["id"], entry["parent_message_id"]) for entry in history] == [
        (root["message_id"], None),
        (child["message_id"], root["message_id"]),
        (again["message_id"], root["message_id"]),
        (second["message_id"], None),
    ]

    other = await send("other")
    await visitor.patch(f"/api/conversations/{here}/pin")

    async def listed(pinned: str) -> list[str]:
        page = (await visitor.get("/api/conversations", params={"pinned": pinned})).json()
        return [entry["id"] for entry in page["data"]]

    assert await listed("true") == [here]
    assert await listed("0") == [other["conversation_id"]]
    assert await listed("") == [other["conversation_id"], here]
    assert refusal(await visitor.get("/api/conversations", params={"pinned": "maybe"}))[:2] == (400, "invalid_param")
    assert (await visitor.delete(f"/api/conversations/{here}")).status_code == 204
    assert await listed("") == [other["conversation_id"]]
    strangers = server.client(await server.new_passport(site.site_code))
    assert refusal(await strangers.delete(f"/api/conversations/{other['conversation_id']}")) == GONE
