"""Read models that are not what the ledger says: found, and made anew."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatledger.adapters.cli.main import main
from tests.cli.conftest import Talk, make_app
from tests.support.databases import ON_POSTGRES, ON_SQLITE, change_ledger, connection_to, ledger_of
from tests.support.process import ServerProcess, run_command, run_json


def check(data_folder: Path) -> tuple[int, dict[str, Any]]:
    result = run_command(data_folder, "rebuild", "--check", "--json")
    assert not result.stderr
    return result.returncode, json.loads(result.stdout)


@pytest.fixture(scope="module")
def used_store(first_folder: Path, talk: Talk) -> Path:
    app = make_app(first_folder)
    with ServerProcess(first_folder) as server:
        first = talk(server.url, app["api_key"])
        talk(server.url, app["api_key"], "again", conversation_id=first["conversation_id"])
        talk(server.url, app["api_key"], "/script tokens=3 fail_as=invalid", response_mode="async")
    return first_folder


@pytest.fixture(params=["no server", "server"])
def server(request: pytest.FixtureRequest, store: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if request.param == "server":
            stack.enter_context(ServerProcess(store))
        yield


@pytest.mark.usefixtures("server")
def test_differences_are_found_and_repaired(store: Path) -> None:
    code, before = check(store)
    assert (code, before["differences"]) == (0, 0)
    assert {table["table"]: table["rows"] for table in before["tables"]}["messages"] == 3

    change_ledger(
        store,
        "UPDATE messages SET state = 'stopped' WHERE position = (SELECT min(position) FROM messages)",
        "UPDATE messages SET answer = NULL WHERE position = (SELECT max(position) FROM messages)",
        "DELETE FROM api_keys",
        "INSERT INTO operator_tokens SELECT 'planted', incarnation, incarnation, 1, 1, 'erase', name FROM head, apps",
    )
    code, found = check(store)
    differences = {table["table"]: table["differences"] for table in found["tables"] if table["differences"]}
    assert (code, differences) == (1, {"messages": 2, "api_keys": 1, "operator_tokens": 1})
    assert found["differences"] == 4

    report = run_json(store, "rebuild")
    assert (report["events"], report["position"], report["differences"]) == (before["position"], before["position"], 4)
    assert [table for table in report["tables"] if table["differences"]] == [
        table for table in found["tables"] if table["differences"]
    ]
    assert named(report)["operator_tokens"] == ["planted"]
    code, after = check(store)
    assert (code, after) == (0, before)


def named(compared: dict[str, Any]) -> dict[str, list[str]]:
    return {table["table"]: table["different"] for table in compared["tables"] if table["differences"]}


@ON_SQLITE
def test_read_models_of_another_version_are_repaired(store: Path) -> None:
    change_ledger(store, "UPDATE read_model_versions SET version = 99", "DELETE FROM messages")
    for command in (("rebuild", "--check"), ("serve", "--port", "0")):
        result = run_command(store, *command)
        assert (result.returncode, result.stdout) == (1, "")
        assert "chatledger rebuild" in result.stderr.splitlines()[-1]
    assert run_command(store, "doctor").returncode == 1

    report = run_json(store, "rebuild")
    assert {table["differences"] for table in report["tables"]} == {None}, "of another version"
    assert check(store)[0] == 0
    assert run_command(store, "doctor").returncode == 0


@ON_POSTGRES
def test_read_models_of_another_version_stay_beside_those_of_this_release(store: Path) -> None:
    change_ledger(store, "UPDATE read_model_versions SET version = 99", "UPDATE head SET read_models = 99")
    with connection_to(ledger_of(store)) as connection:
        connection.exec_driver_sql("ALTER SCHEMA public_read_1 RENAME TO public_read_99")
    refused = run_command(store, "rebuild", "--check")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "chatledger migrate" in refused.stderr.splitlines()[-1]
    assert run_command(store, "migrate").returncode == 0
    code, found = check(store)
    assert (code, found["differences"]) == (0, 0)
    assert all(table["rows"] for table in found["tables"] if table["table"] in {"apps", "messages"})
    change_ledger(store, "UPDATE public_read_99.apps SET mode = mode")


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
    before = list(data_folder.parent.iterdir())
    assert main(["rebuild", *options]) == 1
    printed = capsys.readouterr()
    assert not printed.out
    (line,) = printed.err.splitlines()
    assert f"there is no {data_folder}" in line
    assert list(data_folder.parent.iterdir()) == before


def test_the_words_for_people(data_folder: Path, app: dict[str, str]) -> None:
    result = run_command(data_folder, "rebuild", "--check")
    assert result.returncode == 0
    assert "messages" in result.stdout
    assert "what the ledger says" in result.stdout
    made, found = run_command(data_folder, "rebuild").stdout.splitlines()
    assert made.startswith("The read models are made anew from 4 events in ")
    assert found == "No row differed from before."
