"""The examples, as whoever reads them runs them: on an installed wheel, with no extra but what they need."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from chatledger import Chatledger, Settings
from tests.examples.installed import EXAMPLES, Environment, build_wheel
from tests.support.tls import NO_TLS

pytestmark = pytest.mark.slow

DEADLINE = 30.0
NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("bare"), wheel)


@pytest.fixture(scope="session")
def with_fastapi(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("with-fastapi"), wheel, ["fastapi", "uvicorn"])


def test_no_extra_is_installed_with_it(bare: Environment, tmp_path: Path) -> None:
    extras = ("litestar", "granian", "uvicorn", "httptools", "uvloop", "psycopg", "openai", "pydantic_ai", "nats")
    code = f"import importlib.util as util; print([name for name in {extras} if util.find_spec(name)])"
    assert bare.run(tmp_path, "-c", code).stdout == "[]\n"


def test_a_server_names_the_extra_that_it_needs(bare: Environment, tmp_path: Path) -> None:
    served = bare.run(tmp_path, "-m", "chatledger", "serve")
    assert served.returncode == 1
    assert served.stderr == "chatledger: a server needs the extra `http`: install chatledger[http]\n"
    assert list(tmp_path.iterdir()) == []


def test_the_commands_beside_a_server_need_none(bare: Environment, tmp_path: Path) -> None:
    create = ("-m", "chatledger", "apps", "create", "--mode", "chat", "--name", "Helper", "--json")
    made = json.loads(bare.run(tmp_path, *create).stdout)
    listed = json.loads(bare.run(tmp_path, "-m", "chatledger", "apps", "list", "--json").stdout)
    assert [app["app_id"] for app in listed] == [made["app_id"]]
    assert json.loads(bare.run(tmp_path, "-m", "chatledger", "doctor", "--json").stdout)["ok"]


def test_plain_asyncio(bare: Environment, tmp_path: Path) -> None:
    for messages in (2, 4):
        result = bare.run(tmp_path, str(EXAMPLES / "plain_asyncio.py"), "data")
        assert (result.returncode, result.stderr) == (0, "")
        assert "/stop`" in result.stdout
        assert result.stdout.count("'How do I stop an answer?': 2 messages\n") == messages // 2


def test_own_generator(bare: Environment, tmp_path: Path) -> None:
    result = bare.run(tmp_path, str(EXAMPLES / "own_generator.py"), "data")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "That makes 5 apples",
        "That makes 9 apples, in 2 attempts",
        "the calculator is put away",
    ]


def test_own_projection(bare: Environment, tmp_path: Path) -> None:
    for apps in (1, 2):
        result = bare.run(tmp_path, str(EXAMPLES / "own_projection.py"), "data")
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.splitlines() == [
            "somebody was not content: too long",
            *["2 questions, some tokens"] * apps,
            "shop-usage: 0 behind, 0 streams parked",
            "complaints: 0 behind, 0 streams parked",
        ]


# The host that is a service of its own


@contextmanager
def running_service(environment: Environment, folder: Path) -> Iterator[httpx.Client]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = environment.start(folder, str(EXAMPLES / "fastapi_host.py"), "data", str(port))
    try:
        with httpx.Client(
            verify=NO_TLS, base_url=f"http://127.0.0.1:{port}", params={"user": "ann"}, timeout=DEADLINE
        ) as client:
            wait_for(process, port)
            yield client
        process.terminate()
        output, _ = process.communicate(timeout=DEADLINE)
        assert output == ""
    finally:
        process.kill()
        process.communicate()


def wait_for(process: "subprocess.Popen[str]", port: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        assert process.poll() is None, process.communicate()[0]
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


def lines_of(response: httpx.Response) -> list[dict]:
    assert response.status_code == 200
    return [json.loads(line) for line in response.iter_lines()]


async def test_fastapi_host(with_fastapi: Environment, tmp_path: Path) -> None:
    with running_service(with_fastapi, tmp_path) as client:
        with client.stream("POST", "/ask", json={"query": "How do I stop an answer?"}) as response:
            told = lines_of(response)
        message, conversation = response.headers["x-message"], response.headers["x-conversation"]
        assert "/stop`" in "".join(line.get("text", "") for line in told)
        assert [line["version"] for line in told] == sorted(line["version"] for line in told)

        again = client.get(f"/messages/{message}/stream", params={"after": told[1]["version"]})
        assert lines_of(again) == told[2:]
        assert client.get(f"/messages/{message}/stream", params={"after": 1_000}).status_code == 422
        assert client.get(f"/messages/{message}/stream", params={"user": "eve"}).status_code == 404
        assert client.get(f"/messages/{NOWHERE}/stream").json() == {"error": "NotFoundError", "field": None}
        assert client.post("/ask", json={"query": ""}).json() == {"error": "InvalidParameterError", "field": "query"}
        assert client.post(f"/messages/{message}/stop").status_code == 200
        with client.stream("POST", "/ask", json={"query": "And why?", "conversation_id": conversation}) as response:
            assert lines_of(response)
    async with Chatledger.open(Settings(data_dir=tmp_path / "data")) as ledger:
        (app,) = await ledger.apps.list()
        (listed,) = (await ledger.conversations.list(app.app_id, user="ann")).items
        assert str(listed.conversation_id) == conversation
        history = await ledger.messages.history(app.app_id, listed.conversation_id, user="ann")
        assert [seen.query for seen in history.items] == ["How do I stop an answer?", "And why?"]
