"""What is wrong with an installation, said by name."""

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Talk, make_app
from tests.support.databases import ON_POSTGRES, ON_SQLITE, change_ledger, configure, connection_to, ledger_of
from tests.support.process import ServerProcess, run_command
from tests.support.s3 import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server

Fault = tuple[Callable[[Path], None], str, str]
"""What is done to a store, the check that finds it, and what that says."""


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
def used_store(first_folder: Path, talk: Talk) -> Path:
    app = make_app(first_folder)
    with ServerProcess(first_folder) as server:
        talk(server.url, app["api_key"])
        code, checks = examine(first_folder)
        assert code == 0, checks
        assert str(server.pid) in checks["server"]["detail"]
    return first_folder


def test_a_sound_installation(store: Path) -> None:
    code, checks = examine(store)
    assert code == 0
    assert {check["verdict"] for check in checks.values()} == {"ok"}
    words = run_command(store, "doctor")
    assert words.returncode == 0
    assert "none is running" in words.stdout


def _hole(store: Path) -> None:
    change_ledger(store, "DELETE FROM events WHERE position = 5")


def _torn_stream(store: Path) -> None:
    change_ledger(store, "DELETE FROM events WHERE position = (SELECT min(position) FROM events WHERE version = 2)")


def _cut_off(store: Path) -> None:
    change_ledger(store, "DELETE FROM events WHERE position = (SELECT max(position) FROM events)")


def _lost_key(store: Path) -> None:
    with contextlib.closing(sqlite3.connect(store / "keys.db")) as connection, connection:
        connection.execute("DELETE FROM keys WHERE parent_id IS NOT NULL")


def _unknown_generator(store: Path) -> None:
    change_ledger(store, "UPDATE apps SET configuration = name")


def _old_read_models(store: Path) -> None:
    change_ledger(store, "UPDATE read_model_versions SET version = 99")


def _open_keys(store: Path) -> None:
    (store / "master.key").chmod(0o644)


def _no_master_key(store: Path) -> None:
    (store / "master.key").unlink()


def _other_master_key(store: Path) -> None:
    (store / "master.key").write_bytes(b"k" * 32)


def _newer_schema(store: Path) -> None:
    change_ledger(store, "UPDATE chatledger_version SET version_num = '9999'")


def _no_file(store: Path) -> None:
    (store / "ledger.db").unlink()


def _overwritten_file(store: Path) -> None:
    (store / "ledger.db").write_bytes(b"this is no database" * 1000)


def _no_database(store: Path) -> None:
    configure(store, f"{ledger_of(store)}_gone")


def _no_server(store: Path) -> None:
    configure(store, "postgresql://ann:geheim@127.0.0.1:1/chat")


def _no_schema(store: Path) -> None:
    with connection_to(ledger_of(store)) as connection:
        connection.exec_driver_sql("ALTER SCHEMA public RENAME TO elsewhere")
        connection.exec_driver_sql("CREATE SCHEMA public")


FAULTS: list[Fault] = [
    (_hole, "ledger", "first at position 5"),
    (_torn_stream, "streams", "1 streams have a hole"),
    (_cut_off, "ledger", "the head says"),
    (_unknown_generator, "apps", "does not open"),
    (_newer_schema, "store", "9999"),
]
FAULTS_OF_FILES: list[Fault] = [
    (_old_read_models, "read models", "chatledger rebuild"),
    (_lost_key, "data keys", "gone"),
    (_open_keys, "private files", "master.key"),
    (_no_master_key, "store", "master.key"),
    (_other_master_key, "store", "master key"),
    (_no_file, "store", "ledger.db"),
    (_overwritten_file, "store", "database"),
]
FAULTS_OF_A_SERVER: list[Fault] = [
    (_no_database, "store", "does not exist"),
    (_no_server, "server", "127.0.0.1:1/chat"),
    (_no_schema, "store", "chatledger migrate"),
    (_old_read_models, "store", "chatledger migrate"),
]


@pytest.mark.parametrize(("fault", "check", "named"), FAULTS)
def test_a_fault_is_found(store: Path, fault: Callable[[Path], None], check: str, named: str) -> None:
    fault(store)
    found = failures(store)
    assert named in found[check]


@ON_SQLITE
@pytest.mark.parametrize(("fault", "check", "named"), FAULTS_OF_FILES)
def test_a_fault_of_a_file_is_found(store: Path, fault: Callable[[Path], None], check: str, named: str) -> None:
    fault(store)
    assert named in failures(store)[check]


@ON_POSTGRES
@pytest.mark.parametrize(("fault", "check", "named"), FAULTS_OF_A_SERVER)
def test_a_fault_of_the_server_is_found(store: Path, fault: Callable[[Path], None], check: str, named: str) -> None:
    fault(store)
    found = failures(store)
    assert named in found[check]
    assert "geheim" not in str(found)


def test_a_check_that_cannot_be_made_is_damage_and_costs_the_others_nothing(store: Path) -> None:
    with connection_to(ledger_of(store)) as connection:
        connection.exec_driver_sql("ALTER TABLE streams RENAME TO lost")
    found = failures(store)
    assert set(found) == {"streams", "data keys"}
    assert all(detail.startswith("the store is damaged: ") for detail in found.values())


@ON_SQLITE
def test_an_app_whose_documents_are_gone(data_folder: Path, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    create = ("apps", "create", "--mode", "chat", "--name", "x", "--generator", "extractive")
    assert run_command(data_folder, *create, "--set", f"folder={documents}").returncode == 0
    assert failures(data_folder) == {}
    documents.rmdir()
    assert "folder" in failures(data_folder)["apps"]


@ON_SQLITE
def test_a_folder_that_is_open_to_others_is_a_warning(data_folder: Path, app: dict[str, str]) -> None:
    data_folder.chmod(0o755)
    code, checks = examine(data_folder)
    assert (code, checks["data folder"]["verdict"]) == (0, "warning")


def test_there_is_nothing_yet(data_folder: Path) -> None:
    assert set(failures(data_folder)) == {"data folder", "store"}
    assert not data_folder.exists()


@ON_SQLITE
def test_an_object_storage_is_asked_for_its_bucket(store: Path, tmp_path: Path) -> None:
    with S3Server(tmp_path / "s3") as storage:
        environment = {
            "CHATLEDGER_FILES_URL": f"s3://{BUCKET}",
            "CHATLEDGER_FILES_ENDPOINT": storage.endpoint,
            "CHATLEDGER_FILES_ACCESS_KEY_ID": ACCESS_KEY,
            "CHATLEDGER_FILES_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        verdicts = []
        for more in ({}, {"CHATLEDGER_FILES_URL": "s3://another"}, {"CHATLEDGER_FILES_SECRET_ACCESS_KEY": "wrong"}):
            report = run_command(store, "doctor", "--json", env=environment | more).stdout
            (found,) = [check for check in json.loads(report)["checks"] if check["check"] == "files"]
            verdicts.append(found["verdict"])
            assert SECRET_KEY not in report
    assert verdicts == ["ok", "failed", "failed"]
