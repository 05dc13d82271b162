"""Erasing and holding people, keeping conversations for a while, and operators' tokens, at the command line."""

import json
from pathlib import Path

import httpx
import pytest

from tests.support.databases import ON_SQLITE
from tests.support.process import ServerProcess, run_command, run_json


def ask(url: str, key: str, user: str, query: str = "hello") -> dict[str, str]:
    body = {"query": query, "user": user, "inputs": {}, "response_mode": "blocking"}
    answer = httpx.post(f"{url}/v1/chat-messages", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def an_app(data_folder: Path) -> tuple[str, str]:
    made = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "n", "--generator", "scripted")
    return made["app_id"], made["api_key"]


@pytest.mark.parametrize("beside_a_server", [True, False])
@ON_SQLITE
def test_a_person_is_erased(data_folder: Path, beside_a_server: bool) -> None:
    app, key = an_app(data_folder)
    person = ("--app", app, "--user", "ada")
    with ServerProcess(data_folder) as server:
        ask(server.url, key, "ada")
        ask(server.url, key, "bob")
        if beside_a_server:
            erased = run_json(data_folder, "erase", *person, "--yes")
    if not beside_a_server:
        erased = run_json(data_folder, "erase", *person, "--yes")
    assert (erased["app_id"], erased["conversations"], erased["files"]) == (app, 1, 0)
    assert erased["erased_position"] > erased["requested_position"]

    receipt = data_folder.parent / "receipt.json"
    receipt.write_text(erased["receipt"])
    assert run_command(data_folder, "verify", str(receipt)).returncode == 0
    again = run_command(data_folder, "erase", *person, "--yes")
    assert (again.returncode, again.stderr) == (1, "chatledger: there is no such end user\n")
    by_own_id = run_json(data_folder, "erase", "--app", app, "--user", erased["end_user_id"], "--yes")
    positions = ("requested_position", "erased_position")
    assert [by_own_id[name] for name in positions] == [erased[name] for name in positions]
    assert by_own_id["receipt"]
    checked = run_json(data_folder, "rebuild", "--check")
    assert checked["differences"] == 0
    assert {table["table"]: table["rows"] for table in checked["tables"]}["erasures"] == 1


@ON_SQLITE
def test_where_nobody_can_be_asked_nothing_is_erased_unasked(data_folder: Path) -> None:
    app, key = an_app(data_folder)
    with ServerProcess(data_folder) as server:
        ask(server.url, key, "ada")
        refused = run_command(data_folder, "erase", "--app", app, "--user", "ada")
        assert refused.returncode == 2
        assert "1 conversations with 1 messages, and 0 files" in refused.stderr
        assert "--yes" in refused.stderr
        assert run_json(data_folder, "rebuild", "--check")["tables"]


@ON_SQLITE
def test_a_hold_is_placed_listed_and_released(data_folder: Path) -> None:
    app, key = an_app(data_folder)
    person = ("--app", app, "--user", "ada")
    with ServerProcess(data_folder) as server:
        ask(server.url, key, "ada")
        held = run_json(data_folder, "hold", "place", *person, "--reason", "a case")
        (listed,) = run_json(data_folder, "hold", "list", "--app", app)
        assert (listed["hold_id"], listed["end_user_id"]) == (held["hold_id"], held["end_user_id"])
        assert listed["reason"] == "a case"
        assert "a case" in run_command(data_folder, "hold", "list").stdout
        refused = run_command(data_folder, "erase", *person, "--yes")
        assert (refused.returncode, "legal hold" in refused.stderr) == (1, True)
        run_json(data_folder, "hold", "release", held["hold_id"])
        assert run_json(data_folder, "hold", "list") == []
        again = run_command(data_folder, "hold", "release", held["hold_id"])
        assert (again.returncode, again.stderr) == (1, "chatledger: there is no such hold\n")
        assert run_json(data_folder, "erase", *person, "--yes")["erased_position"]


@ON_SQLITE
def test_an_app_keeps_conversations_for_a_while(data_folder: Path) -> None:
    app, _ = an_app(data_folder)
    assert run_json(data_folder, "apps", "retention", app, "--days", "30")["retention_days"] == 30
    assert run_json(data_folder, "apps", "show", app)["retention_days"] == "30"
    assert run_json(data_folder, "apps", "retention", app, "--for-ever")["retention_days"] is None
    assert run_json(data_folder, "apps", "show", app)["retention_days"] == ""
    assert run_command(data_folder, "apps", "retention", app, "--days", "0").returncode == 2
    assert run_command(data_folder, "apps", "retention", app, "--days", "36501").returncode == 2


@ON_SQLITE
def test_a_token_is_issued_listed_and_revoked(data_folder: Path) -> None:
    an_app(data_folder)
    issued = run_json(data_folder, "operators", "issue", "--name", "Eve", "--scope", "erase", "--scope", "audit")
    assert issued["token"].startswith("op-")
    (listed,) = [each for each in run_json(data_folder, "operators", "list") if each["name"] == "Eve"]
    assert (listed["operator_id"], listed["scopes"]) == (issued["operator_id"], ["audit", "erase"])
    assert json.dumps(issued["token"]) not in run_command(data_folder, "operators", "list", "--json").stdout
    run_json(data_folder, "operators", "revoke", issued["operator_id"])
    assert all(each["name"] != "Eve" for each in run_json(data_folder, "operators", "list"))
    unknown = run_command(data_folder, "operators", "revoke", "00000000-0000-4000-8000-000000000000")
    assert (unknown.returncode, unknown.stderr) == (1, "chatledger: there is no such operator\n")
