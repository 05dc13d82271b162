"""Making the read models anew over HTTP: for operators with the scope ``operate`` alone."""

import asyncio

from chatledger.application.ledger.projections import READ_MODELS
from tests.support.chatting import ask
from tests.support.server import until

REBUILD = "/v1/admin/rebuild"


async def test_an_operator_has_the_read_models_made_anew_and_looks_how_far_it_has_come(serve):
    async with serve() as server:
        operator, chat = server.client(await server.new_token("operate")), await server.new_client(tokens=3)
        asked = await ask(chat)
        before = (await operator.get(REBUILD)).json()
        assert (before["state"], before["started_at"], before["report"]) == ("none", None, None)

        begun, refused = await asyncio.gather(operator.post(REBUILD), operator.post(REBUILD))
        begun, refused = sorted((begun, refused), key=lambda response: response.status_code)
        assert begun.status_code == 202
        assert begun.headers["location"] == REBUILD
        assert begun.json()["state"] == "replaying"
        assert (refused.status_code, refused.json()["code"]) == (409, "rebuild_running")

        async def ended():
            return (await operator.get(REBUILD)).json()["ended_at"]

        await until(ended)
        completed = (await operator.get(REBUILD)).json()
        assert (completed["state"], completed["error"]) == ("completed", None)
        assert completed["done"] == completed["total"] == completed["report"]["events"] == await server.head()
        assert completed["report"]["differences"] == 0
        assert [table["table"] for table in completed["report"]["tables"]] == list(READ_MODELS)
        assert completed["started_at"] <= completed["ended_at"]

        again = (await chat.get(f"/v1/messages/{asked['id']}", params={"user": "ada"})).json()
        assert again["answer"] == asked["answer"]


async def test_nobody_else_may(server):
    audit, app = await server.new_token("audit"), await server.new_key()
    for credential, status in ((None, 401), ("op-nobody", 401), (audit, 403), (app, 403)):
        client = server.client(credential)
        for response in (await client.post(REBUILD), await client.get(REBUILD)):
            assert response.status_code == status, response.text
