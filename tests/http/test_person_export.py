"""An access request over HTTP: all of one person, readable, for operators who may audit."""

import json
from base64 import b64decode
from datetime import datetime

import msgspec
import pytest

from chatledger.adapters.http.admin_api.person_export import ExportedPerson
from tests.support.chatting import ask, complete
from tests.support.server import until

EXPORT = "/v1/admin/users/export"
CONTENT = bytes(range(256)) * 700
NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def auditor(server):
    return server.client(await server.new_token("audit"))


async def exported(auditor, app, user="ada", **more):
    response = await auditor.post(EXPORT, json={"app_id": str(app.app_id), "user": user} | more)
    assert response.status_code == 200, response.text
    document = response.json()
    msgspec.json.decode(response.content, type=ExportedPerson)
    return document


async def test_all_of_one_person_and_nothing_of_others(server, auditor):
    configuration = {
        "generator": "scripted",
        "settings": {"text": "an answer"},
        "conversation_variables": [{"name": "colour", "default": "blue"}],
        "file_upload": {"enabled": True, "kinds": [], "number_limits": 3},
    }
    app = await server.new_app(configuration=configuration)
    chat = server.client(app.api_key)
    uploaded = await chat.post("/v1/files/upload", data={"user": "ada"}, files={"file": ("notes.bin", CONTENT)})
    file_id = uploaded.json()["id"]
    files = [{"type": "custom", "transfer_method": "local_file", "upload_file_id": file_id}]
    first = await ask(chat, "the first question", files=files)
    second = await ask(chat, "the second question", conversation_id=first["conversation_id"])
    rating = {"user": "ada", "rating": "like", "content": "well said"}
    await chat.post(f"/v1/messages/{second['message_id']}/feedbacks", json=rating)
    renamed = f"/v1/conversations/{first['conversation_id']}/name"
    await chat.post(renamed, json={"user": "ada", "name": "a name of hers"})
    gone = await ask(chat, "said and deleted")
    await chat.request("DELETE", f"/v1/conversations/{gone['conversation_id']}", json={"user": "ada"})
    await ask(chat, "what bob asked", user="bob")

    document = await exported(auditor, app)
    assert document["format"] == "chatledger access request 1"
    person = document["person"]
    assert (person["app_id"], person["kind"], person["user"]) == (str(app.app_id), "service-api", "ada")
    kept, deleted = document["conversations"]
    assert (kept["id"], kept["status"], kept["name"]) == (first["conversation_id"], "normal", "a name of hers")
    assert [(each["name"], each["value"]) for each in kept["variables"]] == [("colour", "blue")]
    one, two = kept["messages"]
    assert (one["query"], one["answer"], one["status"]) == ("the first question", "an answer", "completed")
    assert [(each["name"], each["upload_file_id"]) for each in one["files"]] == [("notes.bin", file_id)]
    assert (two["query"], one["feedback"]) == ("the second question", [])
    (feedback,) = two["feedback"]
    assert (feedback["by"], feedback["rating"], feedback["content"]) == ("user", "like", "well said")
    assert datetime.fromisoformat(feedback["at"]) >= datetime.fromisoformat(two["ended_at"])
    assert (deleted["id"], deleted["status"]) == (gone["conversation_id"], "deleted")
    assert deleted["deleted_at"] > deleted["created_at"]
    assert [message["query"] for message in deleted["messages"]] == ["said and deleted"]
    (file,) = document["files"]
    assert (file["id"], file["name"], file["size"]) == (file_id, "notes.bin", len(CONTENT))
    assert b64decode(file["content"], validate=True) == CONTENT
    assert "bob" not in json.dumps(document)

    assert (await exported(auditor, app, "bob"))["files"] == []
    by_own_id = await auditor.post(EXPORT, json={"end_user_id": person["id"]})
    assert by_own_id.json()["conversations"] == document["conversations"]
    assert by_own_id.headers["content-disposition"] == f'attachment; filename="{person["id"]}.json"'


async def test_completions_are_among_it(server, auditor):
    app = await server.new_app("completion")
    await complete(server.client(app.api_key), user="ada")
    (conversation,) = (await exported(auditor, app))["conversations"]
    assert [message["answer"] for message in conversation["messages"]] == ["a poem"]


async def test_a_read_is_on_record_before_it_begins(server, auditor):
    app = await server.new_app(text="an answer")
    await ask(server.client(app.api_key), user="ada")
    now = (await auditor.get("/v1/events", params={"after": "now"})).json()["cursor"]
    document = await exported(auditor, app)
    feed = (await auditor.get("/v1/events", params={"types": "ContentRead", "after": now})).json()["data"]
    reads = [event["data"] for event in feed]
    assert {"subject": "end_user", "subject_id": document["person"]["id"]} in reads


async def test_of_an_erased_person_there_is_nothing_to_export(server, auditor):
    app = await server.new_app(text="an answer")
    await ask(server.client(app.api_key), user="ada")
    own_id = (await exported(auditor, app))["person"]["id"]
    eraser = server.client(await server.new_token("erase"))
    await eraser.post("/v1/admin/users/erase", json={"app_id": str(app.app_id), "user": "ada"})
    refused = await auditor.post(EXPORT, json={"end_user_id": own_id})
    assert (refused.status_code, refused.json()["code"]) == (410, "erased")

    async def done():
        erasure = (await eraser.get(f"/v1/admin/erasures/{own_id}")).json()
        return erasure["erased_position"] is not None

    await until(done)
    refused = await auditor.post(EXPORT, json={"end_user_id": own_id})
    assert (refused.status_code, refused.json()["code"]) == (410, "erased")
    by_name = await auditor.post(EXPORT, json={"app_id": str(app.app_id), "user": "ada"})
    assert by_name.status_code == 404


async def test_who_may_not_and_what_is_not_there(server, auditor):
    app = await server.new_app(text="an answer")
    body = {"app_id": str(app.app_id), "user": "ada"}
    own = await ask(server.client(app.api_key), user="ada")
    for credential in (app.api_key, await server.new_token("operate", "erase")):
        refused = await server.client(credential).post(EXPORT, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await server.client().post(EXPORT, json=body)).status_code == 401
    for wrong, status in (
        ({}, 400),
        ({"app_id": str(app.app_id)}, 400),
        ({"end_user_id": "ada"}, 400),
        (body | {"user": "carol"}, 404),
        (body | {"app_id": NOWHERE}, 404),
        ({"end_user_id": NOWHERE}, 404),
        ({"end_user_id": own["conversation_id"]}, 404),
    ):
        assert (await auditor.post(EXPORT, json=wrong)).status_code == status, wrong
