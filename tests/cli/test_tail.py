"""``chatledger tail``: events as they land, without what people wrote unless that is asked for."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatledger.adapters.cli.main import main
from chatledger.application.system_clock import new_id
from tests.cli.conftest import Talk, make_app
from tests.support.databases import ON_SQLITE
from tests.support.process import COMMAND, ServerProcess, environment

Tailing = "subprocess.Popen[str]"


@contextmanager
def tailing(data_folder: Path, *arguments: str) -> Iterator[Tailing]:
    with subprocess.Popen(
        [*COMMAND, "tail", *arguments],
        env=environment(data_folder),
        cwd=data_folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            yield command
        finally:
            command.kill()


def lines_until(command: Tailing, word: str) -> list[str]:
    """Its next lines, up to one with this word. The test's own time limit is that of the wait."""
    lines = []
    while not lines or word not in lines[-1]:
        line = command.stdout.readline()
        assert line, command.stderr.read()
        lines.append(line)
    return lines


def test_events_are_shown_as_they_land(data_folder: Path, talk: Talk) -> None:
    first, second = make_app(data_folder), make_app(data_folder)
    of_first = ("--after", "0", "--app", first["app_id"])
    with (
        ServerProcess(data_folder) as server,
        tailing(data_folder, *of_first) as shown,
        tailing(data_folder, *of_first, "--content", "--json") as opened,
    ):
        lines_until(shown, "AppCreated")
        talk(server.url, second["api_key"], "asked of the other app")
        talk(server.url, first["api_key"], "what is a \x1b[31mledger?")
        lines = lines_until(shown, "MessageCompleted")
        positions = [int(line.split()[0]) for line in lines]
        assert positions == sorted(set(positions))
        assert not [line for line in lines if "ledger?" in line or second["app_id"] in line or "\x1b" in line]
        created = next(line for line in lines if "MessageCreated" in line)
        assert "by end_user " in created
        assert '"mode":"chat"' in created

        events = [json.loads(line) for line in lines_until(opened, "MessageCompleted")]
        assert {event["appid"] for event in events} == {first["app_id"]}
        asked = next(event for event in events if event["type"] == "chatledger.MessageCreated")
        assert asked["data"]["query"] == "what is a \x1b[31mledger?"
        assert int(asked["sequence"]) == positions[lines.index(created)]

        shown.send_signal(signal.SIGINT)
        assert shown.wait(20) == 130
        opened.stdout.close()
        talk(server.url, first["api_key"], "while nobody reads")
        assert opened.wait(20) == 0


@ON_SQLITE
def test_an_app_that_is_not_there(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_app(data_folder)
    monkeypatch.chdir(data_folder.parent)
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(data_folder))
    assert main(["tail", "--app", str(new_id())]) == 1
    assert "there is no such app" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["tail", "--after", "-1"])
