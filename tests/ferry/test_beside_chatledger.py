"""An application on the library beside chatledger itself: one ledger, and neither sees anything of the other."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.persistence import OperationalError

from tests.ferry.line import Ferry
from tests.ferry.running import WITHIN, Env, manifest
from tests.support.process import run_command, run_json
from tests.support.server import answer_of, chat_body, events_of, live_server

ANSWER = "Of course there is a ferry."


async def test_both_go_on_in_one_process(tmp_path: Path, env: Env) -> None:
    url = env["CHATLEDGER_DATABASE_URL"]
    async with live_server(tmp_path / "data", database_url=url, durability="relaxed") as server:
        client = await server.new_client(text=ANSWER)

        def sail() -> tuple[list[int], list[str]]:
            with manifest(env) as runner:
                crossing_id = runner.app.schedule("Portree")
                booked = [runner.app.book(crossing_id, f"passenger {number}") for number in range(30)]
                runner.wait(booked[-1], timeout=WITHIN)
                passengers = runner.view.passengers(crossing_id)
            runner.view.close()
            return booked, passengers

        async def ask() -> str:
            body = chat_body(response_mode="streaming")
            return answer_of(events_of((await client.post("/v1/chat-messages", json=body)).text))

        (booked, passengers), *answers = await asyncio.gather(asyncio.to_thread(sail), *[ask() for _ in range(10)])
        assert answers == [ANSWER] * 10
        assert passengers == [f"passenger {number}" for number in range(30)]
        rows = await server.running.store.log(list, after=0, limit=1_000)
        assert [row.position for row in rows] == list(range(1, len(rows) + 1))
        assert [row.position for row in rows if row.category == "library:Ferry"][1:] == booked
        ferry = await asyncio.to_thread(Ferry, env)
        assert await asyncio.to_thread(ferry.recorder.max_notification_id) == booked[-1]
    if url.startswith("sqlite"):
        with pytest.raises(OperationalError, match="was closed by the last who used it"):
            ferry.schedule("Portree")
    ferry.close()
    checked = run_json(tmp_path / "data", "rebuild", "--check", env=env)
    assert (checked["differences"], checked["position"]) == (0, len(rows))
    assert run_command(tmp_path / "data", "doctor", env=env).returncode == 0
    with closing(Ferry(env)) as ferry:
        ferry.schedule("Portree")
        assert ferry.recorder.max_notification_id() == len(rows) + 1
