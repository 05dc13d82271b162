"""The disk of the key store alone takes nothing: whatever needs no new key goes on.

The ledger is in PostgreSQL, so that the data folder has the keys and not the events.
"""

import asyncio
from functools import partial
from typing import Any

import pytest

from tests.faults.checking import messages_of
from tests.faults.clients import Place
from tests.faults.findings import Findings
from tests.faults.servers import check_read_models, require_no_errors
from tests.support.databases import ON_POSTGRES
from tests.support.process import ServerProcess, run_json
from tests.support.server import chat_body, until
from tests.support.small_disk import LimitedFiles

pytestmark = [pytest.mark.faults, ON_POSTGRES]

STREAMS = 4
MODES = ("blocking", "streaming", "async")


async def test_without_room_for_keys_only_what_needs_a_new_one_is_refused(data_folder, findings: Findings) -> None:
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    disk = LimitedFiles(data_folder)
    async with Place(created["api_key"]) as place:
        with ServerProcess(data_folder) as server:
            place.open(server.url)
            known = (await place.post("/v1/chat-messages", json=chat_body("/script text=yes"))).json()
            async with findings.crowd("failing writes of the key store", 1, place, STREAMS) as crowd:
                await asyncio.gather(*(sender.is_told.wait() for sender in crowd.senders[:STREAMS]))
                disk.fill(server.pid)
                try:
                    assert crowd.is_listening(), "the streams were over before"
                    # So many that they share commits with the streams, which these must not break.
                    bodies = [
                        chat_body("too early", user, response_mode=mode)
                        for user in ("ada", *["somebody new"] * 9)
                        for mode in MODES
                    ]
                    await asyncio.gather(*(is_refused(place, body) for body in bodies))
                    assert (await place.get("/health/ready")).status_code == 503
                    more = chat_body("/script text=again", conversation_id=known["conversation_id"])
                    answer = await place.post("/v1/chat-messages", json=more)
                    assert answer.json()["answer"] == "again"
                    await crowd.end()
                finally:
                    disk.make_room(server.pid)
                assert {sender.recording.connections for sender in crowd.senders[:STREAMS]} == {1}
                await findings.check(crowd)
            await until(partial(is_ready, place))
            assert not await messages_of(place, "somebody new")
            answer = await place.post("/v1/chat-messages", json=chat_body("/script text=yes", "somebody new"))
            assert answer.json()["answer"] == "yes"
            assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()
        require_no_errors(server)
    check_read_models(data_folder)


async def is_refused(place: Place, body: dict[str, Any]) -> None:
    refused = await place.post("/v1/chat-messages", json=body)
    assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
    assert refused.headers["retry-after"]


async def is_ready(place: Place) -> bool:
    return (await place.get("/health/ready")).status_code == 200
