"""Rotating keys over HTTP: for operators with the scope ``operate``."""

import pytest

from tests.support.chatting import ask
from tests.support.databases import ON_SQLITE

MASTER, USER = "/v1/admin/keys/rotate-master", "/v1/admin/users/rotate-key"


@ON_SQLITE
async def test_an_operator_rotates_and_all_is_read_as_before(server):
    app = await server.new_app(text="yes")
    chat, operator = server.client(app.api_key), server.client(await server.new_token("operate"))
    said = await ask(chat, user="ann")
    whom = {"app_id": str(app.app_id), "user": "ann"}

    of_user, of_master = await operator.post(USER, json=whom), await operator.post(MASTER)
    assert (of_user.status_code, of_user.json()["keys"]) == (200, 1)
    assert of_master.status_code == 200
    assert of_master.json()["keys"] > 1
    listed = await chat.get("/v1/messages", params={"user": "ann", "conversation_id": said["conversation_id"]})
    assert listed.json()["data"][0]["answer"] == "yes"


@ON_SQLITE
@pytest.mark.parametrize(("path", "body"), [(MASTER, None), (USER, {"user": "ann"})])
async def test_nobody_else_does(server, path, body):
    app = await server.new_app()
    whom = None if body is None else {"app_id": str(app.app_id)} | body
    for token, status in ((app.api_key, 403), (await server.new_token("erase", "audit"), 403), ("op-nobody", 401)):
        assert (await server.client(token).post(path, json=whom)).status_code == status


@ON_SQLITE
async def test_nobodys_key_is_rotated(server):
    app = await server.new_app()
    operator = server.client(await server.new_token("operate"))
    unknown = await operator.post(USER, json={"app_id": str(app.app_id), "user": "nobody"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "end_user_not_found")
    nameless = await operator.post(USER, json={"app_id": str(app.app_id)})
    assert (nameless.status_code, nameless.json()["params"]) == (400, "user")
