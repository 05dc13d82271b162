"""What people wrote is in no file in clear, not even in those that a crash left behind."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.postgres import PostgresServer
from tests.support.process import ServerProcess, run_json
from tests.support.tls import NO_TLS

pytestmark = pytest.mark.faults

CANARIES = {
    "query": "CanaryOfTheQuery",
    "answer": "CanaryOfTheAnswer",
    "user": "CanaryOfTheUser",
    "feedback": "CanaryOfTheFeedback",
    "app": "CanaryOfTheApp",
    "opening": "CanaryOfTheOpeningStatement",
    "file": "CanaryOfTheFile",
    "file name": "CanaryOfTheFileName",
    "address": "CanaryOfTheAddress",
}


def spellings(text: str) -> list[bytes]:
    """The text as it might lie on a disk: plain, UTF-16, in base64 at each offset, in hex."""
    plain = text.encode()
    inner = [base64.b64encode(b"x" * shift + plain)[4:-4] for shift in range(3)]
    return [plain, text.encode("utf-16-le"), plain.hex().encode(), *inner]


@pytest.fixture
def database_server(database: str, request: pytest.FixtureRequest) -> PostgresServer | None:
    """Of these tests' own: every byte of it is looked at."""
    return request.getfixturevalue("mortal_database") if database == "postgres" else None


@pytest.fixture
def database_url(database_server: PostgresServer | None) -> str | None:
    return database_server and database_server.fresh_database()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("by_kill", [False, True], ids=["stopped", "killed"])
async def test_no_file_holds_what_a_person_wrote(data_folder, database_server, by_kill):
    arguments = ["--mode", "chat", "--name", CANARIES["app"], "--generator", "scripted"]
    created = run_json(data_folder, "apps", "create", *arguments)
    opening = ["--opening-statement", CANARIES["opening"]]
    files = data_folder.parent / "files.toml"
    files.write_text("[file_upload]\nenabled = true\nkinds = []\n")
    run_json(data_folder, "apps", "configure", created["app_id"], *opening, "--file", str(files))
    server = ServerProcess(data_folder).start()
    try:
        key = {"Authorization": f"Bearer {created['api_key']}"}
        async with httpx.AsyncClient(verify=NO_TLS, base_url=server.url, headers=key, timeout=30) as client:
            for _ in range(5):
                await talk(client)
            await break_off_an_upload(client)
    finally:
        if by_kill:
            server.kill()
        else:
            server.stop()
    with at_rest(database_server, by_kill=by_kill) as files_of_the_database:
        files = [*files_below(data_folder), server.log, *files_of_the_database]
        assert {path.name for path in files} >= {"keys.db", "master.key"}
        assert len(files_below(data_folder / "files")) >= 5
        contents = {}
        for path in files:
            with suppress(FileNotFoundError):  # a living database may remove a file of its own
                contents[path] = path.read_bytes()
    assert any(b"MessageCreated" in content for content in contents.values()), "the ledger is not among them"
    found = [
        (path.name, name)
        for path, content in contents.items()
        for name, text in CANARIES.items()
        if any(spelling in content for spelling in spellings(text))
    ]
    assert found == []


@contextmanager
def at_rest(server: PostgresServer | None, *, by_kill: bool) -> Iterator[list[Path]]:
    """The files of a database server that holds nothing back in memory, or died with it: tables, journal and log."""
    if server is None:
        yield []
        return
    if by_kill:
        server.kill()
    else:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
    yield [*files_below(server.data), server.log]
    if by_kill:
        server.start()


async def talk(client: httpx.AsyncClient) -> None:
    query = f"/script text='{CANARIES['answer']} said' {''}"
    body = {"query": f"{query}# {CANARIES['query']}=1", "user": CANARIES["user"], "inputs": {}}
    refused = await client.post("/v1/chat-messages", json=body)
    assert refused.status_code == 400
    body["query"] = CANARIES["query"]
    await client.post("/v1/chat-messages", json=body)
    body |= {"query": query, "files": await uploaded(client)}
    answer = await client.post("/v1/chat-messages", json=body)
    assert json.loads(answer.text)["answer"] == f"{CANARIES['answer']} said"
    rating = {"rating": "like", "content": CANARIES["feedback"], "user": CANARIES["user"]}
    rated = await client.post(f"/v1/messages/{answer.json()['message_id']}/feedbacks", json=rating)
    assert rated.status_code == 200


async def uploaded(client: httpx.AsyncClient) -> list[dict[str, str]]:
    """References to a file that was uploaded and shown, and to one on the web."""
    name, content = f"{CANARIES['file name']}.txt", f"{CANARIES['file']} " * 10_000
    made = await client.post(
        "/v1/files/upload", files={"file": (name, content, "text/plain")}, data={"user": CANARIES["user"]}
    )
    assert made.status_code == 201
    assert (await client.get(made.json()["source_url"])).text == content
    address = f"https://example.org/{CANARIES['address']}.png"
    return [
        {"type": "document", "transfer_method": "local_file", "upload_file_id": made.json()["id"]},
        {"type": "image", "transfer_method": "remote_url", "url": address},
    ]


async def break_off_an_upload(client: httpx.AsyncClient) -> None:
    """A client that goes in the middle of its file."""

    async def half() -> AsyncIterator[bytes]:
        head = f'Content-Disposition: form-data; name="file"; filename="{CANARIES["file name"]}"'
        yield f"--x\r\n{head}\r\nContent-Type: text/plain\r\n\r\n".encode() + CANARIES["file"].encode() * 20_000
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await client.post(
            "/v1/files/upload", content=half(), headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
