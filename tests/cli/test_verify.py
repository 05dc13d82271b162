"""``chatledger verify``: what it prints, and what it exits with."""

import json
from pathlib import Path
from typing import Any

import pytest

from chatledger.adapters.cli.main import main
from tests.audit.ledgers import Signer, Trail, changed, url_of, write_ledger
from tests.cli.conftest import Talk, make_app
from tests.support.databases import change_ledger
from tests.support.process import ServerProcess, run_command, run_json

NOTARY = Signer()
EVENTS = 600


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def trail(file: Path) -> Trail:
    return write_ledger(url_of(file), EVENTS, NOTARY)


@pytest.fixture
def sink(tmp_path: Path, trail: Trail) -> Path:
    """Where the checkpoints were kept too, one after the other."""
    kept = tmp_path / "checkpoints"
    kept.write_bytes(b"".join(trail.notes.values()))
    return kept


def verify(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main(["verify", "--json", *map(str, arguments)])
    return code, json.loads(capsys.readouterr().out)


def test_an_intact_ledger(file: Path, trail: Trail, sink: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = verify(capsys, file, "--public-key", NOTARY.key, "--since", sink)
    assert (code, report["events"], report["signed"], report["problems"]) == (0, EVENTS, EVENTS, 0)
    assert report["keys"] == [str(NOTARY.key)]
    assert report["checkpoints"] == 2 * len(trail.notes)


@pytest.mark.usefixtures("trail")
def test_without_a_key_it_says_whose_keys_it_went_by(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(file)]) == 0
    out = capsys.readouterr().out
    assert "Nothing is wrong." in out
    assert "taken from the ledger itself" in out
    assert "sealed content" in out


@pytest.mark.usefixtures("trail")
def test_the_first_bad_position_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with changed(url_of(file)) as connection:
        connection.exec_driver_sql("UPDATE events SET sealed = public WHERE position IN (123, 321)")
    assert main(["verify", str(file)]) == 1
    assert "2 things are wrong. The first bad position is 123:" in capsys.readouterr().out
    code, report = verify(capsys, file)
    assert (code, report["first_bad"]) == (1, [123, 123])
    assert [(found["kind"], found["first"]) for found in report["findings"]] == [("changed", 123), ("changed", 321)]


def test_a_checkpoint_from_outside_shows_what_was_cut_off(
    file: Path, sink: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with changed(url_of(file)) as connection:
        connection.exec_driver_sql("DELETE FROM events WHERE position > 400")
    code, report = verify(capsys, file, "--since", sink)
    assert (code, report["first_bad"]) == (1, [401, 401])


def test_a_checkpoint_that_a_crash_has_cut_short_takes_no_other_with_it(
    file: Path, sink: Path, trail: Trail, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, newest = trail.notes.values()
    for cut in (10, 40, len(newest) - 70, len(newest) - 2):
        sink.write_bytes(b"\n".join([*trail.notes.values(), newest[:cut] + b"\n", *trail.notes.values()]))
        assert main(["verify", "--json", "--since", str(sink), str(file)]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["checkpoints"] == 3 * len(trail.notes)
        assert "passed over" in err


@pytest.mark.parametrize(
    "arguments", [["--public-key", "nonsense"], ["--since", "nowhere"], ["nowhere"], ["--since", ""]]
)
def test_wrong_usage(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *(str(tmp_path / word) if word == "nowhere" else word for word in arguments)]) == 2
    assert capsys.readouterr().err.startswith("chatledger: ")


@pytest.mark.parametrize("content", [b"", b"hello", b"{}\n", b"\xff\n"], ids=["empty", "text", "json", "binary"])
def test_a_file_that_is_nothing_to_verify(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "something"
    file.write_bytes(content)
    assert main(["verify", str(file)]) == 2
    assert main(["verify", "--since", str(file), str(file)]) == 2
    assert "checkpoint" in capsys.readouterr().err


def test_the_ledger_of_a_running_server_and_receipts_from_it(data_folder: Path, talk: Talk) -> None:
    app = make_app(data_folder)
    with ServerProcess(data_folder) as server:
        answer = talk(server.url, app["api_key"])
        made = run_json(data_folder, "receipt", answer["id"], "--output", "message.json")
        assert made["kind"] == "message"
        talk(server.url, app["api_key"])
        key = run_json(data_folder, "notary", "show")["verifier_keys"][-1]
        report = run_json(data_folder, "verify", "--public-key", key)
        assert report["signed"] >= made["events"]
    run_json(data_folder, "receipt", answer["conversation_id"], "--with-key", "--output", "conversation.json")

    for name, is_vouched_for in (("message.json", True), ("conversation.json", False)):
        assert (data_folder.parent / name).stat().st_mode & 0o777 == 0o600
        report = run_json(data_folder, "verify", "--public-key", key, name)
        assert any("whoever made the receipt says so" in said for said in report["unchecked"]) is is_vouched_for
    change_ledger(
        data_folder,
        "DELETE FROM checkpoints",
        "DELETE FROM events WHERE position > 5",
        "DELETE FROM streams WHERE number NOT IN (SELECT stream FROM events)",
        "DELETE FROM event_types WHERE number NOT IN (SELECT type FROM events)",
        "UPDATE head SET position = 5, recorded_at = (SELECT max(recorded_at) FROM events),"
        " last_stream = (SELECT max(number) FROM streams)",
    )
    result = run_command(data_folder, "verify", "--json")
    report = json.loads(result.stdout)
    assert (result.returncode, report["first_bad"]) == (1, [6, 6])
    assert "beside its keys" in report["findings"][0]["text"]


def test_a_receipt_that_cannot_be_made(data_folder: Path) -> None:
    app = make_app(data_folder)
    unknown = run_command(data_folder, "receipt", app["app_id"])
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "chatledger: there is no such message or conversation, and no erased person\n",
    )
    taken = data_folder.parent / "taken.json"
    taken.touch()
    there = run_command(data_folder, "receipt", app["app_id"], "--output", str(taken))
    assert (there.returncode, "is there already" in there.stderr) == (1, True)
