"""``chatledger replay``: on folders that messages were answered in."""

import asyncio
import hashlib
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatledger.adapters.cli.main import main
from tests.application.chat import open_chat
from tests.support.databases import ON_SQLITE, ledger_of, settings_of
from tests.support.process import COMMAND, environment

NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def used_store(first_folder: Path) -> Path:
    """A conversation of three answers: one that came at once, one at its second attempt, and one that failed."""

    async def fill() -> dict[str, str]:
        url = ledger_of(first_folder)
        settings = {} if url.startswith("sqlite") else settings_of(url)
        async with open_chat(first_folder.parent, first_retry_delay=0.01, **settings) as chat:
            chat.app = await chat.new_app(tokens=3)
            first = await chat.answered()
            conversation = first.conversation_id
            second = await chat.answered("tokens=2 fail_as=transient fail_times=1", conversation=conversation)
            cut = (await chat.running.store.head()).position
            failed = await chat.answered("fail_as=quota fail_after=1", conversation=conversation)
            ids = {"first": first, "second": second, "failed": failed}
            known = {name: str(message.message_id) for name, message in ids.items()}
            return known | {"conversation": str(conversation), "cut": str(cut), "app": str(chat.app.app_id)}

    known = asyncio.run(fill())
    (first_folder / "known.json").write_text(json.dumps(known))
    return first_folder


@pytest.fixture
def known(store: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((store / "known.json").read_text())
    return found


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(store))
    monkeypatch.chdir(store.parent)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        exit_code = main(["replay", *arguments])
        printed = capsys.readouterr()
        return exit_code, printed.out, printed.err

    return run


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith(("-shm", "-wal"))
    }


def test_a_conversation_once_more(run: Run, known: dict[str, str]) -> None:
    code, out, err = run(known["conversation"], "--json", "--speed", "max")
    assert (code, err) == (0, "")
    shown = lines(out)
    assert [line["position"] for line in shown] == sorted(line["position"] for line in shown)
    told = [(line["event"], line.get("text", ""), line["message_id"]) for line in shown]
    first, second, failed = known["first"], known["second"], known["failed"]
    assert told[0] == ("question", "hello", first)
    assert "".join(text for event, text, of in told if (event, of) == ("text", first)) == "t0 t1 t2 "
    assert [event for event, _, of in told if of == second and event != "text"] == ["question", "retry", "completed"]
    assert told[-1] == ("error", "scripted failure: quota", failed)
    (end,) = [line for line in shown if line["event"] == "completed" and line["message_id"] == first]
    assert end["usage"]["completion_tokens"] == 3


def test_a_message_for_people(run: Run, known: dict[str, str]) -> None:
    code, out, _ = run(known["failed"], "--speed", "1000")
    assert code == 0
    heading, *said = out.splitlines()
    assert heading.endswith(f"message {known['failed']}")
    assert said == [
        "> /script fail_as=quota fail_after=1",
        "t0 ",
        "[error provider_quota_exceeded: scripted failure: quota]",
    ]


def test_only_up_to_a_moment(run: Run, known: dict[str, str]) -> None:
    shown = lines(run(known["conversation"], "--json", "--speed", "0", "--as-of", known["cut"])[1])
    assert {line["message_id"] for line in shown} == {known["first"], known["second"]}
    by_time = run(known["conversation"], "--json", "--speed", "0", "--as-of", shown[-1]["at"])
    assert lines(by_time[1]) == shown
    code, out, err = run(known["failed"], "--speed", "0", "--as-of", known["cut"])
    assert (code, out, err) == (1, "", "chatledger: there is no such message\n")


def test_a_shadow_leaves_the_original_as_it_is(run: Run, store: Path, known: dict[str, str]) -> None:
    before = digests(store)
    code, out, _ = run(known["conversation"], "--against", "scripted", "--set", "text=t0 t1 t3 ", "--json")
    report = json.loads(out)
    assert digests(store) == before
    assert main(["rebuild", "--check"]) == 0

    first, second, failed = report["messages"]
    assert (first["original"]["text"], first["shadow"]["text"]) == ("t0 t1 t2 ", "t0 t1 t3 ")
    assert 0.5 < first["likeness"] < 1
    assert (second["original"]["outcome"], second["shadow"]["outcome"]) == ("completed", "errored")
    assert (failed["original"]["error_code"], failed["shadow"]["error_code"]) == ("provider_quota_exceeded",) * 2
    assert (report["compared"], report["skipped"], report["equal"]) == (3, 0, 1)
    assert (report["original"]["errors"], report["shadow"]["errors"], code) == (1, 2, 1)


def test_the_report_for_people(run: Run, known: dict[str, str]) -> None:
    code, out, err = run(known["first"], "--against", "scripted", "--set", "text=t0 t1 t3 ")
    assert (code, err) == (0, "")
    assert "[-t2-]{+t3+}" in out
    assert out.splitlines()[-1].startswith("1 answers were compared: 0 are equal, likeness 0.")


def test_against_an_apps_own_configuration_nothing_differs(run: Run, known: dict[str, str]) -> None:
    code, out, _ = run(known["first"], "--against", known["app"], "--json")
    report = json.loads(out)
    assert (code, report["equal"], report["likeness"], report["messages"][0]["skipped"]) == (0, 1, 1.0, None)


@ON_SQLITE
def test_an_answer_that_takes_too_long(run: Run, known: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLEDGER_GENERATION_TIMEOUT", "0.2")
    code, out, _ = run(known["first"], "--against", "scripted", "--set", "interval_ms=3600000", "--json")
    (only,) = json.loads(out)["messages"]
    assert (code, only["shadow"]["outcome"], only["shadow"]["text"]) == (1, "timeout", "t0 ")


@ON_SQLITE
@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("nothing",), 2, "'nothing' is not a message's or a conversation's id"),
        ((NOWHERE,), 1, "there is no such message"),
        (("{app}",), 1, "there is no such message"),
        (("{first}", "--speed", "-1"), 2, "'-1' is not a number from 0 on, or max"),
        (("{first}", "--as-of", "yesterday"), 2, "as_of must be a position"),
        (("{first}", "--as-of", "1000000"), 2, "as_of must not be beyond"),
        (("{first}", "--set", "tokens=3"), 2, "--set and --concurrency need --against"),
        (("{first}", "--against", "scripted", "--speed", "2"), 2, "--speed is for what was"),
        (("{first}", "--against", "nobody"), 2, "the generators agent, extractive"),
        (("{first}", "--against", NOWHERE), 1, "there is no such app"),
        (("{first}", "--against", "{app}", "--set", "tokens=3"), 2, "an app has settings of its own"),
        (("{first}", "--against", "scripted", "--set", "tokens=many"), 2, "tokens"),
        (("{first}", "--against", "scripted", "--concurrency", "0"), 2, "'0' is not a number from 1 on"),
    ],
    ids=str,
)
def test_what_cannot_be_replayed(
    run: Run,
    known: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    complaint: str,
) -> None:
    given = [argument.format_map(known) for argument in arguments]
    try:
        found, out, err = run(*given)
    except SystemExit as wrong_usage:
        found, (out, err) = wrong_usage.code, capsys.readouterr()
    assert (found, out) == (code, "")
    assert complaint in err
    assert "Traceback" not in err


@ON_SQLITE
def test_a_replay_can_be_broken_off(store: Path, known: dict[str, str]) -> None:
    with subprocess.Popen(
        [*COMMAND, "replay", known["first"], "--speed", "0.000001"],
        env=environment(store),
        cwd=store.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline().endswith(f"message {known['first']}\n")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "")
