"""Clients that lost a connection between a frame and its id: what they held on to without one does not count."""

import asyncio

import pytest

from tests.faults.checking import words
from tests.faults.clients import PATIENCE, Place, StreamSender
from tests.support.databases import ON_SQLITE
from tests.support.process import ServerProcess, run_json
from tests.support.toxic import ToxicProxy

pytestmark = [pytest.mark.faults, ON_SQLITE]

END_OF_AN_ID = b":6\n\n"


async def test_a_frame_that_had_no_id_yet_is_shown_once(data_folder):
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    async with Place(created["api_key"]) as place:
        with ServerProcess(data_folder) as server:
            async with ToxicProxy(int(server.url.rpartition(":")[2])) as proxy:
                place.open(f"http://127.0.0.1:{proxy.port}")
                trap = proxy.cut_at(END_OF_AN_ID, "to_client", "before")
                client = StreamSender("sender", "ada", place, "/script tokens=20 interval_ms=10 vary_by_attempt=true")
                async with asyncio.timeout(PATIENCE):
                    await client.live()
                assert trap.sprung.is_set()
    assert client.recording.connections == 2
    assert client.text == words(1, 20)
