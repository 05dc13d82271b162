"""Read models that are not what the ledger says: found, and made anew."""

import contextlib
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatledger.adapters.cli.main import main
from tests.cli.conftest import Talk, make_app
from tests.support.process import ServerProcess, run_command, run_json


def damage(data_folder: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(data_folder / "ledger.db", timeout=10)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement


def check(data_folder: Path) -> tuple[int, dict[str, Any]]:
    result = run_command(data_folder, "rebuild", "--check", "--json")
    assert not result.stderr
    return result.returncode, json.loads(result.stdout)


@pytest.fixture(scope="module")
def used_store(tmp_path_factory: pytest.TempPathFactory, talk: Talk) -> Path:
    data_folder = tmp_path_factory.mktemp("rebuild") / "data"
    app = make_app(data_folder)
    with ServerProcess(data_folder) as server:
        first = talk(server.url, app["api_key"])
        talk(server.url, app["api_key"], "again", conversation_id=first["conversation_id"])
        talk(server.url, app["api_key"], "/script tokens=3 fail_as=invalid", response_mode="async")
    return data_folder


@pytest.fixture
def conversation(used_store: Path, data_folder: Path) -> None:
    shutil.copytree(used_store, data_folder)


@pytest.fixture(params=["no server", "server"])
def server(request: pytest.FixtureRequest, data_folder: Path, conversation: None) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if request.param == "server":
            stack.enter_context(ServerProcess(data_folder))
        yield


@pytest.mark.usefixtures("server")
def test_differences_are_found_and_repaired(data_folder: Path) -> None:
    code, before = check(data_folder)
    assert (code, before["differences"]) == (0, 0)
    assert {table["table"]: table["rows"] for table in before["tables"]}["messages"] == 3

    damage(
        data_folder,
        "UPDATE messages SET state = 'stopped' WHERE position = (SELECT min(position) FROM messages)",
        "UPDATE messages SET answer = NULL WHERE position = (SELECT max(position) FROM messages)",
        "DELETE FROM api_keys",
        "INSERT INTO operator_tokens VALUES ('planted', x'00112233445566778899aabbccddeeff', 'erase')",
    )
    code, found = check(data_folder)
    differences = {table["table"]: table["differences"] for table in found["tables"] if table["differences"]}
    assert (code, differences) == (1, {"messages": 2, "api_keys": 1, "operator_tokens": 1})
    assert found["differences"] == 4

    assert run_json(data_folder, "rebuild")["events"] == before["position"]
    code, after = check(data_folder)
    assert (code, after) == (0, before)


@pytest.mark.usefixtures("conversation")
def test_read_models_of_another_version_are_repaired(data_folder: Path) -> None:
    damage(data_folder, "UPDATE head SET read_models = 99", "DELETE FROM messages")
    for command in (("rebuild", "--check"), ("serve", "--port", "0")):
        result = run_command(data_folder, *command)
        assert (result.returncode, result.stdout) == (1, "")
        assert "chatledger rebuild" in result.stderr.splitlines()[-1]
    assert run_command(data_folder, "doctor").returncode == 1

    assert run_command(data_folder, "rebuild").returncode == 0
    assert check(data_folder)[0] == 0
    assert run_command(data_folder, "doctor").returncode == 0


def test_a_comparison_is_one_snapshot_while_a_server_writes(data_folder: Path, app: dict[str, str], talk: Talk) -> None:
    with ServerProcess(data_folder) as server:
        stop = threading.Event()

        def keep_talking() -> None:
            while not stop.is_set():
                talk(server.url, app["api_key"], "/script tokens=20 interval_ms=2")

        talking = [threading.Thread(target=keep_talking) for _ in range(4)]
        for thread in talking:
            thread.start()
        try:
            checked = [check(data_folder) for _ in range(3)]
            run_json(data_folder, "rebuild")
        finally:
            stop.set()
            for thread in talking:
                thread.join()
        assert [code for code, _ in checked] == [0, 0, 0]
        assert checked[0][1]["position"] < checked[-1][1]["position"]
        assert check(data_folder)[0] == 0


@pytest.mark.parametrize("options", [(), ("--check",)], ids=["rebuild", "check"])
def test_there_is_nothing_to_rebuild_before_there_is_a_store(
    data_folder: Path,
    options: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(data_folder.parent)
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(data_folder))
    assert main(["rebuild", *options]) == 1
    printed = capsys.readouterr()
    assert not printed.out
    (line,) = printed.err.splitlines()
    assert "ledger.db" in line
    assert list(data_folder.parent.iterdir()) == []


def test_the_words_for_people(data_folder: Path, app: dict[str, str]) -> None:
    result = run_command(data_folder, "rebuild", "--check")
    assert result.returncode == 0
    assert "messages" in result.stdout
    assert "what the ledger says" in result.stdout
    assert run_command(data_folder, "rebuild").stdout == "The read models are made anew from 3 events.\n"
