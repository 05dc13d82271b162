"""Endpoints of webhooks over HTTP, from the first to the last."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.receiver import Answer, Receiver
from tests.support.server import LiveServer, chat_body, until
from tests.webhooks.conftest import QUICK

PUBLIC = "https://8.8.8.8/"
"""Where these tests send nothing."""


@pytest.fixture
async def receiver():
    async with Receiver() as opened:
        yield opened


@pytest.fixture
async def webhook_server(serve):
    async with serve(**{name: value for name, value in QUICK.items() if name != "shutdown_grace"}) as server:
        yield server


@pytest.fixture
async def operator(server: LiveServer) -> httpx.AsyncClient:
    return server.client(await server.new_token("operate", "audit"))


async def test_from_the_first_to_the_last(webhook_server, receiver):
    operator = webhook_server.client(await webhook_server.new_token("operate", "audit"))
    app = await webhook_server.new_app(tokens=1)
    chat = webhook_server.client(app.api_key)
    body = {"url": receiver.url, "app_id": str(app.app_id), "types": ["MessageCreated"]}
    added = await operator.post("/v1/admin/webhooks", json=body)
    assert added.status_code == 201, added.text
    place = f"/v1/admin/webhooks/{added.json()['endpoint_id']}"

    async def shown() -> dict[str, Any]:
        return (await operator.get(place)).json()

    first = await shown()
    assert (first["url"], first["types"], first["app_id"]) == (receiver.url, ["MessageCreated"], str(app.app_id))
    assert added.json()["secret"] not in (await operator.get("/v1/admin/webhooks")).text
    assert (await operator.post(f"{place}/test")).json() == {"is_success": True, "outcome": "204"}

    receiver.reply = lambda _: Answer(400)
    await chat.post("/v1/chat-messages", json=chat_body("what is refused"))

    async def is_dead() -> bool:
        return (await shown())["dead"] == 1

    await until(is_dead)
    letters = (await operator.get(f"{place}/dead-letters")).json()
    assert ([letter["error"] for letter in letters["data"]], letters["has_more"]) == (["400"], False)
    receiver.reply = lambda _: Answer()
    assert (await operator.post(f"{place}/dead-letters/replay")).json() == {"count": 1}
    await receiver.until(lambda it: it.events[-1]["data"].get("query") == "what is refused" and len(it.hooks) == 5)

    rotated = (await operator.post(f"{place}/rotate-secret", json={"overlap": 0})).json()["secret"]
    assert (await operator.post(f"{place}/replay", json={"after": None})).status_code == 204
    await receiver.until(lambda it: len(it.hooks) == 6)
    assert receiver.hooks[-1].verified(rotated)["data"]["query"] == "what is refused"

    assert (await operator.post(f"{place}/disable")).status_code == 204
    assert (await shown())["disabled_for"] == "operator"
    assert (await operator.post(f"{place}/enable")).status_code == 204
    assert (await shown())["disabled_for"] is None
    assert (await operator.delete(place)).status_code == 204
    assert (await operator.get(place)).status_code == 404
    assert (await operator.get("/v1/admin/webhooks")).json() == {"data": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": "https://127.0.0.1.nip.invalid/"}, "url"),
        ({"url": "https://192.168.0.1/"}, "url"),
        ({"types": "MessageCreated"}, "types"),
        ({"types": [7]}, "types"),
        ({"app_id": "7"}, "app_id"),
        ({"secret": "secret"}, "secret"),
        ({"after": "x"}, "after"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(operator, body, field):
    given = body if "url" in body or not body else {"url": PUBLIC} | body
    refused = await operator.post("/v1/admin/webhooks", json=given)
    assert (refused.status_code, refused.json()["code"], refused.json()["params"]) == (400, "invalid_param", field)


async def test_only_operators_come_in_and_nothing_is_found_that_is_not_there(server, operator):
    auditing = server.client(await server.new_token("audit"))
    chat = await server.new_client()
    for client in (auditing, chat):
        assert (await client.get("/v1/admin/webhooks")).json()["code"] == "forbidden"
    place = f"/v1/admin/webhooks/{uuid4()}"
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/rotate-secret", {}),
        ("POST", "/disable", None),
        ("POST", "/enable", None),
        ("POST", "/test", None),
        ("POST", "/replay", {"after": None}),
        ("GET", "/dead-letters", None),
        ("POST", "/dead-letters/replay", {}),
    ):
        found = await operator.request(method, place + path, json=body)
        assert (found.status_code, found.json()["code"]) == (404, "not_found"), path


async def test_who_has_an_endpoint_told_may_read_it_and_has_read_it(server, operator):
    app = await server.new_app()
    operating = server.client(await server.new_token("operate"))
    body = {"url": PUBLIC, "app_id": str(app.app_id), "types": ["AppDeleted"]}
    assert (await operating.post("/v1/admin/webhooks", json=body | {"after": None})).status_code == 403
    before = (await operator.get("/v1/events", params={"after": "now"})).json()["cursor"]
    place = f"/v1/admin/webhooks/{(await operator.post('/v1/admin/webhooks', json=body)).json()['endpoint_id']}"
    for path, told in (("/replay", {"after": None}), ("/dead-letters/replay", {})):
        refused = await operating.post(place + path, json=told)
        assert (refused.status_code, refused.json()["message"]) == (403, "The token needs the scope audit.")
    assert (await operating.get(place)).status_code == 200
    wanted = {"after": before, "types": "ContentRead,EndpointRegistered"}
    noted, registered = (await operator.get("/v1/events", params=wanted)).json()["data"][:2]
    assert noted["data"] == {"subject": "app", "subject_id": str(app.app_id)}
    assert noted["actorid"] == registered["actorid"]


async def test_the_feed_shows_no_secret_of_an_endpoint(server, operator):
    auditing = server.client(await server.new_token("audit"))
    before = (await auditing.get("/v1/events", params={"after": "now"})).json()["cursor"]
    added = (await operator.post("/v1/admin/webhooks", json={"url": PUBLIC, "types": ["AppDeleted"]})).json()
    place = f"/v1/admin/webhooks/{added['endpoint_id']}"
    await operator.post(f"{place}/rotate-secret")
    await operator.delete(place)
    wanted = {"after": before, "types": "EndpointRegistered,EndpointSecretRotated"}
    registered, rotated = (await auditing.get("/v1/events", params=wanted)).json()["data"]
    assert registered["data"]["url"] == PUBLIC
    assert {"secret", "previous"}.isdisjoint(registered["data"])
    assert set(rotated["data"]) == {"previous_until"}
