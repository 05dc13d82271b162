"""Dead letters, with a server at work and without."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatledger.adapters.cli.main import main
from tests.support.databases import ON_SQLITE
from tests.support.process import ServerProcess, lines_of
from tests.support.tls import NO_TLS

NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(params=["no server", "server"])
def server(request: pytest.FixtureRequest) -> bool:
    return request.param == "server"


def fail(server: ServerProcess, app: dict[str, str], kind: str = "invalid", count: int = 1) -> list[str]:
    """Messages that have failed, in their order."""
    with httpx.Client(
        verify=NO_TLS, base_url=server.url, headers={"Authorization": f"Bearer {app['api_key']}"}, timeout=30
    ) as client:
        failed = []
        for _ in range(count):
            body = {"inputs": {}, "query": f"/script fail_as={kind}", "user": "ann", "response_mode": "streaming"}
            stream = client.post("/v1/chat-messages", json=body).text
            failed.append(json.loads(stream.split("\n\n")[-2][6:])["message_id"])
        return failed


@contextlib.contextmanager
def at_work(data_folder: Path, *, server: bool) -> Iterator[None]:
    with ServerProcess(data_folder) if server else contextlib.nullcontext():
        yield


class Run:
    """``chatledger dead-letters`` in this process, which is the cheapest."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """The exit code, and what was printed."""
        self._capsys.readouterr()
        exit_code = main(["dead-letters", *arguments])
        printed = self._capsys.readouterr()
        return exit_code, printed.out, printed.err

    def json(self, *arguments: str) -> Any:
        """The JSON that it prints; it has to succeed."""
        exit_code, out, err = self(*arguments, "--json")
        assert exit_code == 0, err
        return json.loads(out)


@pytest.fixture
def run(data_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(data_folder))
    monkeypatch.chdir(data_folder.parent)
    return Run(capsys)


def ids(letters: list[dict[str, Any]]) -> list[str]:
    return [letter["message_id"] for letter in letters]


@ON_SQLITE
def test_what_failed_is_found_and_asked_again(run: Run, data_folder: Path, app: dict[str, str], server: bool) -> None:
    with ServerProcess(data_folder) as first:
        failed = [*fail(first, app), *fail(first, app, "quota", 2)]
    with at_work(data_folder, server=server):
        listed = run.json("list")
        assert ids(listed) == failed[::-1]
        assert ids(run.json("list", "--limit", "2")) == failed[:0:-1]
        assert ids(run.json("list", "--code", "completion_request_error")) == failed[:1]
        assert ids(run.json("list", "--app", app["app_id"])) == failed[::-1]
        assert run.json("list", "--app", NOWHERE) == []

        shown = run.json("show", failed[-1])
        assert {name: shown[name] for name in listed[0]} == listed[0]
        assert shown["reason"] == "scripted failure: quota"
        assert [past["outcome"] for past in shown["history"]] == ["failed"]

        (replayed,) = run.json("replay", failed[0])
        assert (replayed["message_id"], replayed["refusal"]) == (failed[0], None)
        again = run.json("list", "--all")
        assert {letter["message_id"]: letter["replays"] for letter in again}[failed[0]] == [replayed["replay"]]
        assert failed[0] not in ids(run.json("list"))

        rest = run.json("replay", "--all-of-app", app["app_id"])
        assert [each["message_id"] for each in rest][:2] == failed[1:], "in the order in which they failed"
        assert all(each["replay"] for each in rest)
        assert not set(failed) & set(ids(run.json("list")))


@ON_SQLITE
def test_what_cannot_be_replayed(run: Run, data_folder: Path, app: dict[str, str]) -> None:
    """Without a server, so that the replay stays unfinished."""
    with ServerProcess(data_folder) as first:
        failed = fail(first, app, count=2)
    first_replay = run.json("replay", failed[0])[0]["replay"]
    exit_code, out, err = run("replay", failed[0], NOWHERE, failed[1], "--json")
    assert (exit_code, err) == (1, "")
    outcomes = json.loads(out)
    assert [(each["message_id"], each["refusal"]) for each in outcomes] == [
        (failed[0], "a replay of it is unfinished, or was answered"),
        (NOWHERE, "there is no such dead letter"),
        (failed[1], None),
    ]
    (forced,) = run.json("replay", failed[0], "--force")
    assert run.json("show", failed[0])["replays"] == [first_replay, forced["replay"]]
    assert run.json("replay", "--all-of-app", app["app_id"]) == []

    exit_code, out, _ = run("replay", failed[0])
    assert exit_code == 1
    assert "a replay of it is unfinished" in out


@ON_SQLITE
def test_what_it_says_in_words(run: Run, data_folder: Path, app: dict[str, str]) -> None:
    assert run("list")[1] == "There are no dead letters.\n"
    with ServerProcess(data_folder) as first:
        failed = fail(first, app, count=2)
    listed = run("list", "--limit", "1")[1]
    assert failed[1] in listed
    assert failed[0] not in listed
    assert "There are older ones" in listed
    shown = run("show", failed[0])[1]
    assert "scripted failure: invalid" in shown
    assert "/script" not in shown
    assert "is answered by the next server" in run("replay", failed[0])[1]
    with ServerProcess(data_folder):
        assert "is answered in the background" in run("replay", failed[1])[1]


@ON_SQLITE
@pytest.mark.usefixtures("app")
def test_what_is_refused(run: Run) -> None:
    for arguments, exit_code, named in (
        (("replay",), 2, "--all-of-app"),
        (("replay", NOWHERE, "--all-of-app", NOWHERE), 2, "--all-of-app"),
        (("replay", "--force", "--all-of-app", NOWHERE), 2, "--force"),
        (("list", "--code", "bad_luck"), 2, "code"),
        (("show", NOWHERE), 1, "no such dead letter"),
        (("replay", "--all-of-app", NOWHERE), 1, "no such app"),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (exit_code, "")
        (line,) = lines_of(err)
        assert named in line
