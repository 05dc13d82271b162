"""Dead letters, with a server at work and without."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.databases import ON_SQLITE
from tests.support.process import ServerProcess, lines_of, run_command, run_json

NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(params=["no server", "server"])
def server(request: pytest.FixtureRequest) -> bool:
    return request.param == "server"


def fail(server: ServerProcess, app: dict[str, str], kind: str = "invalid", count: int = 1) -> list[str]:
    """Messages that have failed, in their order."""
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {app['api_key']}"}, timeout=30) as client:
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


def dead_letters(data_folder: Path, *arguments: str) -> Any:
    return run_json(data_folder, "dead-letters", *arguments)


def ids(letters: list[dict[str, Any]]) -> list[str]:
    return [letter["message_id"] for letter in letters]


def test_what_failed_is_found_and_asked_again(data_folder: Path, app: dict[str, str], server: bool) -> None:
    with ServerProcess(data_folder) as first:
        failed = [*fail(first, app), *fail(first, app, "quota", 2)]
    with at_work(data_folder, server=server):
        listed = dead_letters(data_folder, "list")
        assert ids(listed) == failed[::-1]
        assert ids(dead_letters(data_folder, "list", "--limit", "2")) == failed[:0:-1]
        assert ids(dead_letters(data_folder, "list", "--code", "completion_request_error")) == failed[:1]
        assert ids(dead_letters(data_folder, "list", "--app", app["app_id"])) == failed[::-1]
        assert dead_letters(data_folder, "list", "--app", NOWHERE) == []

        shown = dead_letters(data_folder, "show", failed[-1])
        assert {name: shown[name] for name in listed[0]} == listed[0]
        assert shown["reason"] == "scripted failure: quota"
        assert [past["outcome"] for past in shown["history"]] == ["failed"]

        (replayed,) = dead_letters(data_folder, "replay", failed[0])
        assert (replayed["message_id"], replayed["refusal"]) == (failed[0], None)
        again = dead_letters(data_folder, "list", "--all")
        assert {letter["message_id"]: letter["replays"] for letter in again}[failed[0]] == [replayed["replay"]]
        assert failed[0] not in ids(dead_letters(data_folder, "list"))

        rest = dead_letters(data_folder, "replay", "--all-of-app", app["app_id"])
        assert [each["message_id"] for each in rest][:2] == failed[1:], "in the order in which they failed"
        assert all(each["replay"] for each in rest)
        assert not set(failed) & set(ids(dead_letters(data_folder, "list")))


@ON_SQLITE
def test_what_cannot_be_replayed(data_folder: Path, app: dict[str, str]) -> None:
    """Without a server, so that the replay stays unfinished."""
    with ServerProcess(data_folder) as first:
        failed = fail(first, app, count=2)
    first_replay = dead_letters(data_folder, "replay", failed[0])[0]["replay"]
    result = run_command(data_folder, "dead-letters", "replay", failed[0], NOWHERE, failed[1], "--json")
    assert (result.returncode, result.stderr) == (1, "")
    outcomes = json.loads(result.stdout)
    assert [(each["message_id"], each["refusal"]) for each in outcomes] == [
        (failed[0], "a replay of it is unfinished, or was answered"),
        (NOWHERE, "there is no such dead letter"),
        (failed[1], None),
    ]
    (forced,) = dead_letters(data_folder, "replay", failed[0], "--force")
    assert dead_letters(data_folder, "show", failed[0])["replays"] == [first_replay, forced["replay"]]
    assert dead_letters(data_folder, "replay", "--all-of-app", app["app_id"]) == []

    text = run_command(data_folder, "dead-letters", "replay", failed[0])
    assert text.returncode == 1
    assert "a replay of it is unfinished" in text.stdout


@ON_SQLITE
def test_what_it_says_in_words(data_folder: Path, app: dict[str, str]) -> None:
    assert run_command(data_folder, "dead-letters", "list").stdout == "There are no dead letters.\n"
    with ServerProcess(data_folder) as first:
        failed = fail(first, app, count=2)
    listed = run_command(data_folder, "dead-letters", "list", "--limit", "1").stdout
    assert failed[1] in listed
    assert failed[0] not in listed
    assert "There are older ones" in listed
    shown = run_command(data_folder, "dead-letters", "show", failed[0]).stdout
    assert "scripted failure: invalid" in shown
    assert "/script" not in shown
    assert "answered in the background" in run_command(data_folder, "dead-letters", "replay", failed[0]).stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "named"),
    [
        (("replay",), 2, "--all-of-app"),
        (("replay", NOWHERE, "--all-of-app", NOWHERE), 2, "--all-of-app"),
        (("replay", "--force", "--all-of-app", NOWHERE), 2, "--force"),
        (("list", "--code", "bad_luck"), 2, "code"),
        (("show", NOWHERE), 1, "no such dead letter"),
        (("replay", "--all-of-app", NOWHERE), 1, "no such app"),
    ],
)
@ON_SQLITE
def test_what_is_refused(
    data_folder: Path, app: dict[str, str], arguments: tuple[str, ...], exit_code: int, named: str
) -> None:
    result = run_command(data_folder, "dead-letters", *arguments)
    assert (result.returncode, result.stdout) == (exit_code, "")
    (line,) = lines_of(result.stderr)
    assert named in line
