"""Nodes of a new release take the place of the old ones, one after the other, while clients go on."""

import asyncio
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from chatledger.application.ledger.projections import READ_MODELS
from tests.support.next_release import NEXT_RELEASE, QUESTIONS
from tests.support.nodes import BY_POSTGRES, Nodes
from tests.support.process import ServerProcess, run_command
from tests.support.tls import NO_TLS

pytestmark = [pytest.mark.postgres, pytest.mark.faults]

FEW_KILLS = 3
CLIENTS = 3
SENT_IN_EACH_PHASE = 3
IN_FLIGHT = 8

LEAVING = {"CHATLEDGER_DRAIN_DELAY": "2"}
"""A balancer that looks each second knows by then."""

ONLY_BY = """
CREATE FUNCTION only_by() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('application_name') <> TG_ARGV[0] THEN
        RAISE EXCEPTION '% wrote to %', current_setting('application_name'), TG_TABLE_SCHEMA;
    END IF;
    RETURN COALESCE(NEW, OLD);
END $$
"""


def named(url: str, release: int) -> str:
    return f"{url}?application_name=release-{release}"


def guard(url: str, release: int, tables: tuple[str, ...]) -> None:
    """Let nobody but a release write to the read models of its version."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table in tables:
            connection.execute(
                f"CREATE TRIGGER only_by BEFORE INSERT OR UPDATE OR DELETE ON public_read_{release}.{table} "
                f"FOR EACH ROW EXECUTE FUNCTION only_by('release-{release}')"
            )


class Clients:
    """They send to one node and look at the next one, of whatever release it is."""

    def __init__(self, credential: str) -> None:
        self.nodes: list[ServerProcess] = []
        self.failed: list[str] = []
        self.sent = 0
        self._credential = credential
        self._turns = itertools.count()
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._is_over = False

    def _next(self) -> httpx.AsyncClient:
        return self._client(self.nodes[next(self._turns) % len(self.nodes)])

    def _client(self, node: ServerProcess) -> httpx.AsyncClient:
        url = node.url
        if url not in self._clients:
            headers = {"Authorization": f"Bearer {self._credential}"}
            self._clients[url] = httpx.AsyncClient(base_url=url, headers=headers, verify=NO_TLS, timeout=20)
        return self._clients[url]

    async def go_on(self, number: int) -> None:
        while not self._is_over:
            try:
                await self._talk(f"user-{number}")
            except (httpx.HTTPError, AssertionError) as error:
                self.failed.append(repr(error))
            self.sent += 1

    async def _talk(self, user: str) -> None:
        query = {"query": "What is a ledger?", "user": user, "inputs": {}, "response_mode": "blocking"}
        answer = (await self._ask("POST", "/v1/chat-messages", json=query))["message_id"], query
        message_id = answer[0]
        listed = await self._ask("GET", "/v1/conversations", params={"user": user, "limit": 1})
        (conversation,) = listed["data"]
        page = await self._ask("GET", "/v1/messages", params={"user": user, "conversation_id": conversation["id"]})
        assert [message["id"] for message in page["data"]] == [message_id], "the newest conversation has this message"
        rating = {"rating": "like", "user": user}
        await self._ask("POST", f"/v1/messages/{message_id}/feedbacks", json=rating)
        (message,) = (
            await self._ask("GET", "/v1/messages", params={"user": user, "conversation_id": conversation["id"]})
        )["data"]
        assert message["feedback"] == {"rating": "like"}

    async def _ask(self, method: str, path: str, **request: Any) -> Any:
        response = await self._next().request(method, path, **request)
        assert response.status_code < 300, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    async def in_flight(self, to: ServerProcess, number: int, *, moment: float) -> None:
        """Send to this node alone, so long before its answer ends; blocking and streaming in turn."""
        query = f"/script tokens=8 interval_ms={moment / 8 * 1_000:g}"
        body = {"query": query, "user": f"in-flight-{number}", "inputs": {}}
        body["response_mode"] = "blocking" if number % 2 else "streaming"
        try:
            answer = await self._client(to).post("/v1/chat-messages", json=body)
            assert answer.status_code == 200, answer.text
            if number % 2:
                assert answer.json()["answer"] == "".join(f"t{token} " for token in range(8))
            else:
                assert '"event":"message_end"' in answer.text, answer.text
        except (httpx.HTTPError, AssertionError) as error:
            self.failed.append(f"in flight: {error!r}")

    async def talk_on(self) -> None:
        """Until so many more have been answered."""
        until = self.sent + SENT_IN_EACH_PHASE
        async with asyncio.timeout(60):
            while self.sent < until:  # noqa: ASYNC110 - a count has no event
                await asyncio.sleep(0.01)

    def end(self) -> None:
        self._is_over = True

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()


async def replace(clients: Clients, old: ServerProcess, new: ServerProcess) -> None:
    """The new one is asked once it is ready; the old one is told to leave while it still answers, and asked no more."""
    if not new.is_running:
        await asyncio.to_thread(new.start)
    clients.nodes.append(new)
    await clients.talk_on()
    clients.nodes.remove(old)
    async with asyncio.TaskGroup() as in_flight:
        for number in range(IN_FLIGHT):
            in_flight.create_task(clients.in_flight(old, number, moment=number / 2))
        stopping = in_flight.create_task(asyncio.to_thread(old.stop))
    assert stopping.result() == 0
    await clients.talk_on()


async def test_no_request_fails_and_no_release_writes_rows_of_another(
    tmp_path: Path, postgres_url: str, pytestconfig: pytest.Config
) -> None:
    nodes = 2 if pytestconfig.getoption("--kills") > FEW_KILLS else 1
    old = Nodes(tmp_path, named(postgres_url, 1), BY_POSTGRES, apis=nodes, workers=0, apis_work=True, env=LEAVING)
    new_env = old.env | {"CHATLEDGER_DATABASE_URL": named(postgres_url, 2)}
    new = [ServerProcess(tmp_path / f"new-{n}", env=new_env, launcher=NEXT_RELEASE) for n in range(nodes)]
    with old:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(ONLY_BY)
        guard(postgres_url, 1, READ_MODELS)
        clients = Clients(old.new_app(tokens=3, interval_ms=1)["api_key"])
        for node in new:
            node.data_folder.mkdir(mode=0o700)
            shutil.copy2(old.apis[0].data_folder / "master.key", node.data_folder)
        clients.nodes += old.apis
        going_on = [asyncio.create_task(clients.go_on(number)) for number in range(CLIENTS)]
        try:
            await clients.talk_on()
            await asyncio.to_thread(new[0].start)
            guard(postgres_url, 2, (*READ_MODELS, QUESTIONS))
            with psycopg.connect(postgres_url) as nobody, pytest.raises(psycopg.errors.RaiseException):
                nobody.execute("UPDATE public_read_2.apps SET mode = mode")
            for leaving, coming in zip(old.apis, new, strict=True):
                await replace(clients, leaving, coming)
            clients.end()
            await asyncio.gather(*going_on)
            assert clients.failed == []

            listing = await asyncio.to_thread(run_command, new[0].data_folder, "apps", "list", env=old.env)
            assert (listing.returncode, "another release has committed" in listing.stderr) == (1, True), listing.stderr

            for release, launcher in ((1, ()), (2, NEXT_RELEASE)):
                env = new_env if launcher else old.env
                folder = new[0].data_folder
                found = await asyncio.to_thread(
                    run_command, folder, "rebuild", "--check", "--json", env=env, launcher=launcher
                )
                assert found.returncode == 0, (release, found.stdout, found.stderr)
                compared = json.loads(found.stdout)
                assert compared["differences"] == 0
                assert [table["table"] for table in compared["tables"]][-1] == (
                    QUESTIONS if launcher else READ_MODELS[-1]
                )
        finally:
            for task in going_on:
                task.cancel()
            await clients.close()
            for node in new:
                if node.is_running:
                    node.stop()
