"""What is wrong with an installation, said by name."""

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Talk, make_app
from tests.support.process import ServerProcess, run_command


def examine(data_folder: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    result = run_command(data_folder, "doctor", "--json")
    assert not result.stderr
    report = json.loads(result.stdout)
    assert report["ok"] is (result.returncode == 0)
    return result.returncode, {check["check"]: check for check in report["checks"]}


def failures(data_folder: Path) -> dict[str, str]:
    code, checks = examine(data_folder)
    failed = {name: check["detail"] for name, check in checks.items() if check["verdict"] == "failed"}
    assert code == (1 if failed else 0)
    return failed


@pytest.fixture(scope="module")
def used_store(tmp_path_factory: pytest.TempPathFactory, talk: Talk) -> Path:
    data_folder = tmp_path_factory.mktemp("doctor") / "data"
    app = make_app(data_folder)
    with ServerProcess(data_folder) as server:
        talk(server.url, app["api_key"])
        code, checks = examine(data_folder)
        assert code == 0, checks
        assert str(server.pid) in checks["server"]["detail"]
    return data_folder


@pytest.fixture
def store(used_store: Path, data_folder: Path) -> Path:
    shutil.copytree(used_store, data_folder)
    return data_folder


def change(file: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def test_a_sound_installation(store: Path) -> None:
    code, checks = examine(store)
    assert code == 0
    assert {check["verdict"] for check in checks.values()} == {"ok"}
    words = run_command(store, "doctor")
    assert words.returncode == 0
    assert "none is running" in words.stdout


def _hole(store: Path) -> None:
    change(store / "ledger.db", "DELETE FROM events WHERE position = 5")


def _torn_stream(store: Path) -> None:
    change(
        store / "ledger.db", "DELETE FROM events WHERE position = (SELECT min(position) FROM events WHERE version = 2)"
    )


def _cut_off(store: Path) -> None:
    change(store / "ledger.db", "DELETE FROM events WHERE position = (SELECT max(position) FROM events)")


def _lost_key(store: Path) -> None:
    change(store / "keys.db", "DELETE FROM keys WHERE parent_id IS NOT NULL")


def _unknown_generator(store: Path) -> None:
    change(store / "ledger.db", "UPDATE apps SET configuration = name")


def _old_read_models(store: Path) -> None:
    change(store / "ledger.db", "UPDATE head SET read_models = 99")


def _open_keys(store: Path) -> None:
    (store / "master.key").chmod(0o644)


def _no_master_key(store: Path) -> None:
    (store / "master.key").unlink()


def _other_master_key(store: Path) -> None:
    (store / "master.key").write_bytes(b"k" * 32)


def _newer_schema(store: Path) -> None:
    change(store / "ledger.db", "UPDATE alembic_version SET version_num = '9999'")


def _no_database(store: Path) -> None:
    (store / "ledger.db").unlink()


def _overwritten_database(store: Path) -> None:
    (store / "ledger.db").write_bytes(b"this is no database" * 1000)


@pytest.mark.parametrize(
    ("fault", "check", "named"),
    [
        (_hole, "ledger", "first at position 5"),
        (_torn_stream, "streams", "1 streams have a hole"),
        (_cut_off, "ledger", "the head says"),
        (_lost_key, "data keys", "gone"),
        (_unknown_generator, "apps", "does not open"),
        (_old_read_models, "read models", "chatledger rebuild"),
        (_open_keys, "private files", "master.key"),
        (_no_master_key, "store", "master.key"),
        (_other_master_key, "store", "master key"),
        (_newer_schema, "store", "9999"),
        (_no_database, "store", "ledger.db"),
        (_overwritten_database, "store", "database"),
    ],
)
def test_a_fault_is_found(store: Path, fault: Callable[[Path], None], check: str, named: str) -> None:
    fault(store)
    found = failures(store)
    assert named in found[check]


def test_an_app_whose_documents_are_gone(data_folder: Path, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    create = ("apps", "create", "--mode", "chat", "--name", "x", "--generator", "extractive")
    assert run_command(data_folder, *create, "--set", f"folder={documents}").returncode == 0
    assert failures(data_folder) == {}
    documents.rmdir()
    assert "folder" in failures(data_folder)["apps"]


def test_a_folder_that_is_open_to_others_is_a_warning(data_folder: Path, app: dict[str, str]) -> None:
    data_folder.chmod(0o755)
    code, checks = examine(data_folder)
    assert (code, checks["data folder"]["verdict"]) == (0, "warning")


def test_there_is_nothing_yet(data_folder: Path) -> None:
    assert set(failures(data_folder)) == {"data folder", "store"}
    assert not data_folder.exists()
