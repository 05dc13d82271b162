"""``chatledger export`` and ``import``: what they are told, what goes along, and what a ``kill -9`` leaves behind."""

import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatledger.adapters.cli.main import main
from chatledger.application.files.sealing import sealed_size
from chatledger.application.system_clock import new_id
from tests.audit.exports import read_export
from tests.cli.conftest import Talk, make_app
from tests.persistence.stores import a_row, open_store
from tests.support.databases import ON_SQLITE
from tests.support.process import ServerProcess, environment, run_command, run_json
from tests.support.tls import NO_TLS

LONG = 3_000

CONTENT = b"what a person uploads " * 5_000


class Used:
    """A data folder, and commands on it that run in this process.

    Attributes:
        names: ids of apps and conversations, by what they are called here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, str] = json.loads((folder.parent / "names.json").read_text())

    def arguments(self, *arguments: str) -> list[str]:
        return ["export", *(self.names.get(argument, argument) for argument in arguments)]


@pytest.fixture(scope="module")
def used_store(first_folder: Path, talk: Talk) -> Path:
    """Two apps; two people of the first one, of whom Ann has two conversations, one of them deleted, and a file."""
    first, second = make_app(first_folder), make_app(first_folder)
    with ServerProcess(first_folder) as server:
        kept = talk(server.url, first["api_key"])["conversation_id"]
        gone = talk(server.url, first["api_key"], "forget this")["conversation_id"]
        client = {"base_url": f"{server.url}/v1", "headers": {"Authorization": f"Bearer {first['api_key']}"}}
        with httpx.Client(verify=NO_TLS, **client) as http:
            http.request("DELETE", f"/conversations/{gone}", json={"user": "ann"}).raise_for_status()
            uploaded = http.post("/files/upload", data={"user": "ann"}, files={"file": ("a.txt", CONTENT)})
            uploaded.raise_for_status()
        bobs = talk(server.url, first["api_key"], "again", user="bob")["conversation_id"]
        beside = run_command(first_folder, "export")
        assert beside.returncode == 0, beside.stderr
    names = {
        "first": first["app_id"],
        "first_key": first["api_key"],
        "second": second["app_id"],
        "kept": kept,
        "gone": gone,
        "bobs": bobs,
    }
    (first_folder.parent / "names.json").write_text(json.dumps(names))
    (first_folder.parent / "beside.jsonl").write_text(beside.stdout)
    return first_folder


@pytest.fixture
def used(used_store: Path, monkeypatch: pytest.MonkeyPatch) -> Used:
    monkeypatch.chdir(used_store.parent)
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(used_store))
    return Used(used_store)


def exported(used: Used, output: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*used.arguments(*arguments), "--output", str(output), "--json"]) == 0
    outcome: dict[str, Any] = json.loads(capsys.readouterr().out)
    return outcome


@ON_SQLITE
def test_beside_a_server_the_whole_ledger_goes_to_stdout(used: Used) -> None:
    rows = read_export(used.folder.parent / "beside.jsonl")
    assert {row.category for row in rows} >= {"app", "end_user", "conversation", "message", "file"}


@ON_SQLITE
def test_parts_by_what_they_are_called(used: Used, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def part(*arguments: str) -> set[int]:
        output = tmp_path / new_id().hex
        exported(used, output, *arguments, capsys=capsys)
        return {row.position for row in read_export(output)}

    of_app, of_ann = part("--app", "first"), part("--app", "first", "--user", "ann")
    of_bob = part("--app", "first", "--user", "bob")
    assert of_ann < of_app > of_bob
    assert not of_ann & of_bob
    ann = next(
        str(row.stream_id) for row in read_export(used.folder.parent / "beside.jsonl") if row.category == "end_user"
    )
    assert part("--app", "first", "--user", ann) == of_ann
    assert part("--conversation", "kept") < of_ann
    assert part("--conversation", "gone") < of_ann
    assert part("--app", "first", "--user", "bob", "--conversation", "bobs") < of_bob


@ON_SQLITE
@pytest.mark.parametrize(
    "arguments",
    [
        ("--app", str(new_id())),
        ("--conversation", str(new_id())),
        ("--app", "first", "--user", "carol"),
        ("--app", "first", "--user", str(new_id())),
        ("--app", "second", "--user", "bob"),
        ("--app", "second", "--conversation", "kept"),
        ("--app", "first", "--user", "bob", "--conversation", "kept"),
    ],
)
def test_nothing_is_exported_of_what_is_not_there(
    used: Used, tmp_path: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*used.arguments(*arguments), "--output", str(tmp_path / "none")]) == 1
    assert "there is no such" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@ON_SQLITE
@pytest.mark.parametrize(
    "arguments",
    [
        ("--json",),
        ("--user", "ann"),
        ("--files", "files"),
        ("--keys", "keys"),
        ("--output", "out", "--keys", "keys", "--conversation", "kept"),
        ("--person", "--app", "first"),
        ("--person", "--user", "ann"),
        ("--person", "--app", "first", "--user", "ann", "--conversation", "kept"),
    ],
)
def test_options_that_do_not_go_together(used: Used, arguments: tuple[str, ...]) -> None:
    assert main(used.arguments(*arguments)) == 2


@ON_SQLITE
def test_files_and_keys_go_along(used: Used, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, files, keys = (tmp_path / name for name in ("ledger", "files", "keys"))
    outcome = exported(used, output, "--files", str(files), "--keys", str(keys), capsys=capsys)
    assert (outcome["files"], outcome["missing_files"]) == (1, 0)
    ours, carried = (
        [path for path in folder.rglob("*") if path.is_file()] for folder in (used.folder / "files", files)
    )
    assert [path.read_bytes() for path in carried] == [path.read_bytes() for path in ours]
    assert carried[0].stat().st_size == sealed_size(len(CONTENT))
    assert keys.stat().st_mode & 0o777 == 0o600
    ids = "SELECT hex(key_id) FROM keys ORDER BY 1"
    with sqlite3.connect(keys) as copy, sqlite3.connect(used.folder / "keys.db") as original:
        assert copy.execute(ids).fetchall() == original.execute(ids).fetchall() != []


@ON_SQLITE
def test_bytes_that_are_gone_are_told(
    used: Used, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(used.folder, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "files")
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(tmp_path / "data"))
    of_ann = ("--app", "first", "--user", "ann", "--files", str(tmp_path / "files"))
    outcome = exported(used, tmp_path / "ann", *of_ann, capsys=capsys)
    assert (outcome["files"], outcome["missing_files"]) == (0, 1)


@ON_SQLITE
def test_all_of_one_person_readable(
    used: Used, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(used.arguments("--person", "--app", "first", "--user", "ann")) == 0
    document = json.loads(capsysbinary.readouterr().out)
    kept, gone = document["conversations"]
    assert [each["id"] for each in (kept, gone)] == [used.names["kept"], used.names["gone"]]
    assert [message["query"] for message in gone["messages"]] == ["forget this"]
    assert b64decode(document["files"][0]["content"]) == CONTENT

    output = tmp_path / "ann.json"
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO()))
    assert main([*used.arguments("--person", "--app", "first", "--user", "ann"), "--output", str(output)]) == 0
    assert json.loads(output.read_bytes())["conversations"] == document["conversations"]
    assert output.stat().st_mode & 0o777 == 0o600
    (tmp_path / "ann.json.part").write_text("what a process that was killed has left")
    assert main([*used.arguments("--person", "--app", "first", "--user", "ann"), "--output", str(output)]) == 1
    assert [path.name for path in tmp_path.glob("ann*")] == ["ann.json"]


# Importing


@pytest.fixture
def carried(used: Used, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with an export, its files and its keys."""
    folder = tmp_path / "carried"
    folder.mkdir()
    along = ("--files", str(folder / "files"), "--keys", str(folder / "keys.db"))
    exported(used, folder / "ledger.jsonl", *along, capsys=capsys)
    shutil.copy(used.folder / "master.key", folder / "master.key")
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that is not there yet; commands of this process are about it."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(tmp_path / "elsewhere" / "data"))
    return tmp_path / "elsewhere" / "data"


def imported(*arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["import", *arguments, "--json"]) == 0, capsys.readouterr().err
    outcome: dict[str, Any] = json.loads(capsys.readouterr().out)
    return outcome


@ON_SQLITE
def test_a_server_goes_on_where_the_exported_one_ended(
    used: Used, carried: Path, elsewhere: Path, talk: Talk, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere.mkdir(mode=0o700)
    for key_file in ("keys.db", "master.key"):
        shutil.copy(carried / key_file, elsewhere / key_file)
    outcome = imported(str(carried / "ledger.jsonl"), "--files", str(carried / "files"), capsys=capsys)
    assert (outcome["files"], outcome["missing_files"], outcome["has_keys"]) == (1, 0, True)
    ours, theirs = (list((folder / "files").rglob("*-*")) for folder in (used.folder, elsewhere))
    assert [path.read_bytes() for path in theirs] == [path.read_bytes() for path in ours] != []
    assert main(["rebuild", "--check"]) == 0
    for file in ([str(carried / "ledger.jsonl")], []):
        capsys.readouterr()
        assert main(["verify", *file, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["root"] == b64decode(outcome["root"]).hex()
    with ServerProcess(elsewhere) as server:
        headers = {"Authorization": f"Bearer {used.names['first_key']}"}
        with httpx.Client(verify=NO_TLS, base_url=f"{server.url}/v1", headers=headers) as http:
            page = http.get("/conversations", params={"user": "ann"}).raise_for_status().json()["data"]
            assert [each["id"] for each in page] == [used.names["kept"]]
        answer = talk(server.url, used.names["first_key"], "go on", conversation_id=used.names["kept"])
        assert answer["conversation_id"] == used.names["kept"]
    assert main(["checkpoint"]) == 0, "the key store is of the new ledger from here on"


@ON_SQLITE
def test_without_keys_it_is_told_and_they_may_come_later(
    carried: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(carried / "ledger.jsonl")]) == 0
    assert "Its keys are not here" in capsys.readouterr().out
    for key_file in ("keys.db", "master.key"):
        shutil.copy(carried / key_file, elsewhere / key_file)
    assert main(["rebuild"]) == 0
    assert main(["rebuild", "--check"]) == 0
    assert main(["checkpoint"]) == 1
    assert "the key store is that of" in capsys.readouterr().err
    assert main(["restored"]) == 0
    assert main(["checkpoint"]) == 0
    assert main(["apps", "list"]) == 0
    assert "Words" in capsys.readouterr().out


@ON_SQLITE
def test_a_bad_file_makes_no_store(carried: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (carried / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    bad = carried / "bad.jsonl"
    bad.write_bytes(b"".join([*lines[:4], *lines[5:]]))
    assert main(["import", str(bad)]) == 1
    assert "line 5 (position 4)" in capsys.readouterr().err
    assert not elsewhere.exists()


# Killed in the middle


@pytest.fixture(scope="module")
def long_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose ledger takes a while to export and to import."""
    folder = tmp_path_factory.mktemp("long") / "data"
    folder.mkdir()
    with open_store(folder) as store:
        for after in range(0, LONG, 1_000):
            with store.ledger.write() as transaction:
                rows = [
                    a_row(position, new_id(), 1, category="library:Load", name="Loaded", public=b"x" * 500)
                    for position in range(after + 1, after + 1_001)
                ]
                transaction.append(rows)
    return folder


KILLED = """
import os, signal, sys
from chatledger.adapters.cli import console
from chatledger.adapters.cli.main import main

def kill(line, done, total):
    if line._what == sys.argv[1] and done >= 1000:
        os.kill(os.getpid(), signal.SIGKILL)

console.ProgressLine.__call__ = kill
main(sys.argv[2:])
"""


def run_killed(data_folder: Path, *arguments: str) -> None:
    """A command that ``kill -9`` ends after its first thousand events."""
    command = [sys.executable, "-c", KILLED, arguments[0], *arguments]
    ended = subprocess.run(command, env=environment(data_folder), cwd=data_folder.parent, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL


def test_a_killed_export_and_a_killed_import_go_on(long_ledger: Path, elsewhere: Path, tmp_path: Path) -> None:
    output = tmp_path / "ledger.jsonl"
    run_killed(long_ledger, "export", "--output", str(output))
    assert [path.name for path in tmp_path.glob("ledger*")] == ["ledger.jsonl.part"]
    outcome = run_json(long_ledger, "export", "--output", str(output))
    assert 0 < outcome["taken_up_after"] < outcome["events"] == LONG
    assert len(read_export(output)) == LONG

    run_killed(elsewhere, "import", str(output))
    refused = run_command(elsewhere, "apps", "create", "--mode", "chat", "--name", "Too early")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "run `chatledger import`" in refused.stderr
    outcome = run_json(elsewhere, "import", str(output))
    assert (outcome["were_there"], outcome["events"]) == (1_000, LONG)
    again = tmp_path / "again.jsonl"
    run_json(elsewhere, "export", "--output", str(again))
    assert read_export(again) == read_export(output)
