"""``chatledger checkpoint`` and ``chatledger notary``, beside a server and without one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatledger.adapters.cli.main import main
from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.application.audit.note_file import split_notes
from chatledger.application.audit.notes import Checkpoint, Note, VerifierKey
from tests.support.databases import ON_SQLITE, change_ledger
from tests.support.process import ServerProcess

Run = Callable[..., str]


@pytest.fixture
def run(data_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; what it prints."""
    monkeypatch.chdir(data_folder.parent)
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(data_folder))

    def run(*arguments: str, code: int = 0) -> str:
        assert main(arguments) == code
        printed = capsys.readouterr()
        return printed.out or printed.err

    run("apps", "create", "--mode", "chat", "--name", "x")
    return run


def ran(run: Run, *arguments: str, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code))


def signers(note: str, keys: list[str]) -> list[str]:
    trusted = [VerifierKey.parse(key) for key in keys]
    return [str(key) for key in Note.parse(note.encode()).verified(trusted, is_signed_by)]


def test_a_ledger_is_signed_and_its_keys_are_shown(data_folder: Path, run: Run) -> None:
    _sign_and_rotate(run)
    incarnation = ran(run, "restored")["incarnation"]
    shown = ran(run, "notary", "show")
    assert (shown["origin"], shown["checkpoint"]) == (f"chatledger/{incarnation}", None)


@ON_SQLITE
def test_a_running_server_signs_its_ledger_and_once_more_at_its_end(
    data_folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = data_folder.parent / "checkpoints"
    monkeypatch.setenv("CHATLEDGER_CHECKPOINT_SINK", f"file://{sink}")
    with ServerProcess(data_folder, env={"CHATLEDGER_CHECKPOINT_SINK": f"file://{sink}"}) as server:
        _sign_and_rotate(run)
        run("apps", "create", "--mode", "chat", "--name", "y")
        assert server.stop() == 0
    shown = ran(run, "notary", "show")
    assert shown["undelivered"] == 0
    notes = [note.decode() for note in split_notes(sink.read_bytes())]
    assert len(notes) == 3
    assert notes[-1] == shown["checkpoint"]["note"], "what came last is signed at the end"


def _sign_and_rotate(run: Run) -> None:
    before = ran(run, "notary", "show")
    assert (before["verifier_keys"], before["checkpoint"]) == ([], None)

    first = ran(run, "checkpoint")
    assert Checkpoint.parse(Note.parse(first["note"].encode()).text).size == first["size"]
    assert run("checkpoint") == first["note"], "the note itself, as it goes into a file"
    rotated = ran(run, "notary", "rotate-key")
    shown = ran(run, "notary", "show")
    old, new = shown["verifier_keys"]
    assert new == rotated["verifier_key"]
    assert signers(first["note"], [old]) == [old]
    assert signers(rotated["checkpoint"]["note"], [old, new]) == [old, new]
    assert shown["checkpoint"] == rotated["checkpoint"]
    assert shown["origin"] == first["origin"]
    assert {old, new} < set(run("notary", "show").splitlines())


@ON_SQLITE
def test_a_ledger_that_was_tampered_with_is_refused_and_found(data_folder: Path, run: Run) -> None:
    signed = ran(run, "checkpoint")
    change_ledger(
        data_folder, "UPDATE events SET leaf = (SELECT leaf FROM events WHERE position = 2) WHERE position = 1"
    )
    for command in (("checkpoint",), ("notary", "rotate-key")):
        assert "not those that were signed" in run(*command, code=1)
    assert ran(run, "notary", "show")["checkpoint"] == signed
    (check,) = [check for check in ran(run, "doctor", code=1)["checks"] if check["check"] == "checkpoints"]
    assert (check["verdict"], "not those that were signed" in check["detail"]) == ("failed", True)


@ON_SQLITE
def test_an_end_that_was_cut_off_with_its_checkpoints_is_refused_and_found(data_folder: Path, run: Run) -> None:
    signed = ran(run, "checkpoint")
    change_ledger(data_folder, "DELETE FROM checkpoints")
    change_ledger(data_folder, f"DELETE FROM events WHERE position = {signed['size']}")
    change_ledger(data_folder, "UPDATE head SET position = position - 1")
    (check,) = [check for check in ran(run, "doctor", code=1)["checks"] if check["check"] == "checkpoints"]
    ends = f"the ledger ends at {signed['size'] - 1}"
    assert (check["verdict"], ends in check["detail"]) == ("failed", True)
    change_ledger(data_folder, "UPDATE head SET incarnation = X'00000000000000000000000000000001'")
    (check,) = [check for check in ran(run, "doctor", code=1)["checks"] if check["check"] == "checkpoints"]
    assert "the key store is that of" in check["detail"]
    texts = {finding["kind"] for finding in ran(run, "verify", code=1)["findings"]}
    assert {"head", "missing"} <= texts


@ON_SQLITE
def test_what_the_sink_has_not_taken_is_told(data_folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLEDGER_CHECKPOINT_SINK", f"file://{data_folder.parent / 'checkpoints'}")
    ran(run, "checkpoint")
    (check,) = [check for check in ran(run, "doctor")["checks"] if check["check"] == "checkpoints"]
    assert (check["verdict"], check["detail"][:24]) == ("warning", "the sink has not taken 1")


@ON_SQLITE
def test_a_ledger_that_was_restored_from_a_backup_is_signed_as_another_one(data_folder: Path, run: Run) -> None:
    first, ledger = ran(run, "checkpoint"), data_folder / "ledger.db"
    backup = ledger.read_bytes()
    run("apps", "create", "--mode", "chat", "--name", "y")
    later, kept = ran(run, "checkpoint"), data_folder.parent / "kept"
    (old,) = ran(run, "notary", "show")["verifier_keys"]
    ledger.write_bytes(backup)

    assert f"ends at {first['size']}" in run("checkpoint", code=1)
    incarnation = ran(run, "restored")["incarnation"]
    signed = ran(run, "checkpoint")
    assert signed["origin"] == f"chatledger/{incarnation}" != first["origin"]
    assert signed["size"] == first["size"] + 1
    (new,) = ran(run, "notary", "show")["verifier_keys"]
    assert new.startswith(f"{signed['origin']}+")
    assert new.rpartition("+")[2] != old.rpartition("+")[2], "what was signed for one log is nothing for the other"

    kept.write_text(later["note"])
    report = ran(run, "verify", "--since", str(kept))
    assert report["problems"] == 0
    assert any(f"are of other logs, {first['origin']}" in said for said in report["unchecked"])
    compared = ran(run, "verify", "--since", str(kept), "--public-key", old, code=1)
    assert {finding["kind"] for finding in compared["findings"]} == {"missing", "unsigned"}
