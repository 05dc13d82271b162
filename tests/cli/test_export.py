"""``chatledger export``: what it is told to export, and what goes along."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatledger.adapters.cli.main import main
from chatledger.application.files.sealing import sealed_size
from chatledger.application.system_clock import new_id
from tests.audit.exports import read_export
from tests.cli.conftest import Talk, make_app
from tests.support.process import ServerProcess, run_command
from tests.support.tls import NO_TLS

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
            http.post("/files/upload", data={"user": "ann"}, files={"file": ("a.txt", CONTENT)}).raise_for_status()
        bobs = talk(server.url, first["api_key"], "again", user="bob")["conversation_id"]
        beside = run_command(first_folder, "export")
        assert beside.returncode == 0, beside.stderr
    names = {"first": first["app_id"], "second": second["app_id"], "kept": kept, "gone": gone, "bobs": bobs}
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


def test_beside_a_server_the_whole_ledger_goes_to_stdout(used: Used) -> None:
    rows = read_export(used.folder.parent / "beside.jsonl")
    assert {row.category for row in rows} >= {"app", "end_user", "conversation", "message", "file"}


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


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json",),
        ("--user", "ann"),
        ("--files", "files"),
        ("--keys", "keys"),
        ("--output", "out", "--keys", "keys", "--conversation", "kept"),
    ],
)
def test_options_that_do_not_go_together(used: Used, arguments: tuple[str, ...]) -> None:
    assert main(used.arguments(*arguments)) == 2


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


def test_bytes_that_are_gone_are_told(
    used: Used, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(used.folder, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "files")
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(tmp_path / "data"))
    of_ann = ("--app", "first", "--user", "ann", "--files", str(tmp_path / "files"))
    outcome = exported(used, tmp_path / "ann", *of_ann, capsys=capsys)
    assert (outcome["files"], outcome["missing_files"]) == (0, 1)
