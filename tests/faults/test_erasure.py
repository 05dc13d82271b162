"""A person is erased while everybody writes, or the server dies: nothing of them is left, and of the others all."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from chatledger.adapters.cli.rebuild import check
from chatledger.bootstrap import open_for_reading
from chatledger.settings import Settings
from tests.faults.test_canaries import at_rest, files_below, spellings
from tests.support.databases import connection_to, ledger_of, settings_of
from tests.support.postgres import PostgresServer
from tests.support.process import ServerProcess, run_command, run_json

pytestmark = pytest.mark.faults

VICTIM = "CanaryOfTheVictim"
PER_CONVERSATION = 4
"""Canaries: of a query, an answer, an input and a rating."""


@pytest.fixture
def database_server(database: str, request: pytest.FixtureRequest) -> PostgresServer | None:
    """Of these tests' own: every byte of it is looked at."""
    return request.getfixturevalue("mortal_database") if database == "postgres" else None


@pytest.fixture
def database_url(database_server: PostgresServer | None) -> str | None:
    return database_server and database_server.fresh_database()


class Town:
    """People who talk to an app, each of whom says things that nobody else says."""

    def __init__(self, data_folder: Path) -> None:
        self.data_folder = data_folder
        form = data_folder.parent / "form.toml"
        form.write_text(
            '[[user_input_form]]\nvariable = "topic"\ntype = "text-input"\nlabel = "t"\nmax_length = 200\n'
            "[file_upload]\nenabled = true\n"
        )
        arguments = ("--mode", "chat", "--name", "n", "--generator", "scripted", "--file", str(form))
        made = run_json(data_folder, "apps", "create", *arguments)
        self.app, self.key = made["app_id"], made["api_key"]
        scopes = ("--scope", "erase", "--scope", "audit")
        self.token = run_json(data_folder, "operators", "issue", "--name", "Eve", *scopes)["token"]

    @asynccontextmanager
    async def entered(self, server: ServerProcess) -> AsyncIterator["Visit"]:
        async with (
            httpx.AsyncClient(base_url=server.url, headers=bearer(self.key), timeout=30) as chat,
            httpx.AsyncClient(base_url=server.url, headers=bearer(self.token), timeout=30) as operator,
        ):
            yield Visit(self, chat, operator)


class Visit:
    """The town, while a server runs."""

    def __init__(self, town: Town, chat: httpx.AsyncClient, operator: httpx.AsyncClient) -> None:
        self.town = town
        self.chat = chat
        self.operator = operator

    async def talk(self, user: str, number: int) -> dict[str, Any]:
        """A conversation that has four canaries of the person in it."""
        canary = f"{user}-{number}"
        query = f"/script text='{canary}-answer'"
        body = {"query": query, "user": user, "inputs": {"topic": f"{canary}-input"}}
        answered = await self.chat.post("/v1/chat-messages", json=body)
        assert answered.status_code == 200, answered.text
        rating = {"rating": "like", "content": f"{canary}-rating", "user": user}
        await self.chat.post(f"/v1/messages/{answered.json()['message_id']}/feedbacks", json=rating)
        asked = body | {"query": f"{canary}-query", "conversation_id": answered.json()["conversation_id"]}
        await self.chat.post("/v1/chat-messages", json=asked)
        return answered.json()

    async def upload(self, user: str) -> None:
        content, name = f"{user}-file " * 5_000, f"{user}-name.txt"
        made = await self.chat.post(
            "/v1/files/upload", files={"file": (name, content, "text/plain")}, data={"user": user}
        )
        assert made.status_code == 201, made.text

    async def history(self, user: str) -> list[dict[str, Any]]:
        """All that a person can see."""
        listed = await self.chat.get("/v1/conversations", params={"user": user, "limit": 100})
        told = []
        for conversation in listed.json()["data"]:
            page = {"user": user, "conversation_id": conversation["id"], "limit": 100}
            told.append((await self.chat.get("/v1/messages", params=page)).json())
        return [conversation["id"] for conversation in listed.json()["data"]] + told

    async def erase(self, user: str) -> str:
        """Ask for it; the person's id."""
        response = await self.operator.post("/v1/admin/users/erase", json={"app_id": self.town.app, "user": user})
        assert response.status_code == 202, response.text
        return response.json()["end_user_id"]

    async def until_erased(self, person: str) -> None:
        async with asyncio.timeout(60):
            while not await self._is_erased(person):  # noqa: ASYNC110 - the state of another process
                await asyncio.sleep(0.02)

    async def _is_erased(self, person: str) -> bool:
        shown = await self.operator.get(f"/v1/admin/erasures/{person}")
        return shown.json()["erased_position"] is not None


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def keys_of(data_folder: Path, person: str) -> list[bytes]:
    """The bytes in the key store of a person's key and of all under it."""
    with connection_to(ledger_of(data_folder)) as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        found = connection.exec_driver_sql(
            "SELECT key_id FROM streams WHERE stream_id = " + ("?" if is_sqlite else "%s"),
            (UUID(person).bytes if is_sqlite else UUID(person),),
        ).scalar_one()
    key_id = found if isinstance(found, bytes) else found.bytes
    query = """
    WITH RECURSIVE under (key_id) AS (
        VALUES (?) UNION SELECT keys.key_id FROM keys JOIN under ON keys.parent_id = under.key_id
    ) SELECT wrapped FROM keys WHERE key_id IN under"""
    with closing(sqlite3.connect(f"file:{data_folder / 'keys.db'}?mode=ro", uri=True)) as store:
        return [wrapped for (wrapped,) in store.execute(query, (key_id,))]


def back_up(store: Path, copy: Path) -> None:
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def holding(files: Collection[Path], needles: Collection[bytes]) -> list[str]:
    """The files that have any of these bytes."""
    found = []
    for path in files:
        with suppress(FileNotFoundError):  # a living database may remove a file of its own
            content = path.read_bytes()
            if any(needle in content for needle in needles):
                found.append(path.name)
    return found


async def all_that_opens(data_folder: Path, url: str | None) -> str:
    """Every event as far as the keys that are there open it."""
    async with open_for_reading(Settings(data_dir=data_folder, **settings_of(url))) as reading:
        rows = await reading.reader.run(lambda transaction: transaction.read_log(0, 1_000_000))
        return "\n".join(
            msgspec.json.encode(reading.codec.decode_or_erased(row).body).decode()
            for row in rows
            if not row.category.startswith("library")
        )


async def require_equal_replay(data_folder: Path, url: str | None) -> None:
    """What `chatledger rebuild --check` does."""
    found = await asyncio.to_thread(check, Settings(data_dir=data_folder, **settings_of(url)))
    assert found.data.differences == 0, found.text


@pytest.mark.audit
async def test_of_one_who_is_erased_while_all_write_nothing_is_left(
    data_folder: Path, database_server: PostgresServer | None, database_url: str | None, pytestconfig: pytest.Config
) -> None:
    people, canaries = pytestconfig.getoption("--people"), pytestconfig.getoption("--canaries")
    town, others = Town(data_folder), [f"CanaryOfNumber{number}" for number in range(people - 1)]
    receipt, older = data_folder.parent / "receipt.json", data_folder.parent / "older.db"
    with ServerProcess(data_folder) as server:
        async with town.entered(server) as visit:
            limit = asyncio.Semaphore(8)

            async def talk(user: str, number: int) -> dict[str, Any]:
                async with limit:
                    return await visit.talk(user, number)

            told = await asyncio.gather(*(talk(VICTIM, each) for each in range(canaries // PER_CONVERSATION)))
            await asyncio.gather(*(talk(user, 0) for user in others), visit.upload(VICTIM), visit.upload(others[0]))
            await visit.chat.request("DELETE", f"/v1/conversations/{told[0]['conversation_id']}", json={"user": VICTIM})
            before = [await visit.history(user) for user in others]
            person = (await visit.operator.get(f"/v1/messages/{told[1]['message_id']}/events")).json()["data"][0]
            keys = keys_of(data_folder, person["data"]["end_user_id"])
            assert len(keys) >= canaries // PER_CONVERSATION
            receipt.write_bytes((await visit.operator.get(f"/v1/messages/{told[1]['message_id']}/receipt")).content)
            back_up(data_folder / "keys.db", older)

            is_over = asyncio.Event()

            async def keep_writing(user: str) -> int:
                number = 0
                while not is_over.is_set():
                    number += 1
                    await talk(user, number)
                return number

            writers = [asyncio.create_task(keep_writing(user)) for user in (*others[:3], VICTIM)]
            await asyncio.sleep(0.1)
            erased = await visit.erase(VICTIM)
            await visit.until_erased(erased)
            is_over.set()
            assert all(await asyncio.gather(*writers))
            again = await visit.erase(VICTIM)  # the new person who came while the old one was being erased
            assert again != erased
            await visit.until_erased(again)
            gone = await visit.operator.get(f"/v1/messages/{told[1]['message_id']}")
            assert (gone.status_code, gone.json()["code"]) == (410, "erased")
            for user, seen in zip(others[3:], before[3:], strict=True):
                assert await visit.history(user) == seen
    assert run_command(data_folder, "verify", str(receipt)).returncode == 0
    await require_equal_replay(data_folder, database_url)
    with at_rest(database_server, by_kill=False) as files_of_the_database:
        files = [*files_below(data_folder), server.log, *files_of_the_database]
        assert holding(files, spellings(VICTIM)) == []
        assert holding(files, keys) == []
        assert holding([older], keys) == ["older.db"]
    readable = await all_that_opens(data_folder, database_url)
    assert VICTIM not in readable
    assert all(f"{user}-0-{what}" in readable for user in others for what in ("answer", "input", "rating", "query"))

    # Whoever brings an older key store back brings nobody back.
    for leftover in ("keys.db-wal", "keys.db-shm"):
        (data_folder / leftover).unlink(missing_ok=True)
    (data_folder / "keys.db").write_bytes(older.read_bytes())
    assert VICTIM not in await all_that_opens(data_folder, database_url)
    with ServerProcess(data_folder) as server:
        async with town.entered(server) as visit:
            gone = await visit.operator.get(f"/v1/messages/{told[1]['message_id']}")
            assert (gone.status_code, gone.json()["code"]) == (410, "erased")
    assert holding(files_below(data_folder), keys) == []


async def test_an_erasure_that_a_kill_cuts_off_ends_by_itself(
    data_folder: Path, database_url: str | None, seeds: range
) -> None:
    town, server = Town(data_folder), ServerProcess(data_folder).start()
    try:
        for seed in seeds[: max(1, len(seeds) // 3)]:
            victim = f"{VICTIM}{seed}"
            async with town.entered(server) as visit:
                told = await asyncio.gather(*(visit.talk(victim, number) for number in range(6)))
                await visit.upload(victim)
                query = "/script tokens=1000 interval_ms=50"
                body = {"query": query, "user": victim, "inputs": {}, "response_mode": "async"}
                assert (await visit.chat.post("/v1/chat-messages", json=body)).status_code == 202
                person = await visit.erase(victim)
                await asyncio.sleep(Random(seed).uniform(0, 0.15))
                server.kill()
            server = ServerProcess(data_folder).start()
            async with town.entered(server) as visit:
                await visit.until_erased(person)
                for each in told:
                    page = await visit.operator.get(f"/v1/conversations/{each['conversation_id']}/events?limit=100")
                    types = [event["type"] for event in page.json()["data"]]
                    assert types.count("ConversationErased") == 1, types
        server.stop()
    finally:
        server.kill()
    await require_equal_replay(data_folder, database_url)
    assert VICTIM not in await all_that_opens(data_folder, database_url)
