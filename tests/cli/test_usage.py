"""Words, exit codes, and settings that stop a command."""

import gc
from pathlib import Path

import pytest

import chatledger
from chatledger.adapters.cli.main import main
from tests.support.process import lines_of, run_command


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """No command comes as far as the ledger, wherever that is."""
    return tmp_path / "data"


def test_the_version(data_folder: Path) -> None:
    result = run_command(data_folder, "--version")
    assert (result.returncode, result.stdout) == (0, f"chatledger {chatledger.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "COMMAND"),
        (("work",), "work"),
        (("apps",), "COMMAND"),
        (("apps", "create", "--mode", "chat"), "--name"),
        (("apps", "create", "--mode", "workflow", "--name", "x"), "workflow"),
        (("apps", "create", "--mode", "chat", "--name", " "), "--name"),
        (("apps", "create", "--mode", "chat", "--name", "x", "--set", "tokens"), "tokens"),
        (("apps", "show", "not-an-id"), "not-an-id"),
        (("dead-letters",), "COMMAND"),
        (("dead-letters", "list", "--limit", "0"), "0"),
        (("dead-letters", "show"), "MESSAGE"),
        (("dead-letters", "replay", "not-an-id"), "not-an-id"),
        (("serve", "--port", "abc"), "--port"),
        (("serve", "--p", "1"), "--p"),
    ],
)
def test_wrong_usage_is_named_and_exits_with_2(
    arguments: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)
    printed = capsys.readouterr()
    assert not printed.out
    assert named in lines_of(printed.err)[-1]


def test_wrong_usage_leaves_nothing_behind(data_folder: Path) -> None:
    result = run_command(data_folder, "worker")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    assert not data_folder.exists()


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"CHATLEDGER_PROT": "8000"}, "CHATLEDGER_PROT"),
        ({"CHATLEDGER_PORT": "abc"}, "port"),
        ({"CHATLEDGER_PORT": "70000"}, "port"),
        ({"CHATLEDGER_DATABASE_URL": "postgresql://ann:geheim@localhost"}, "database_url"),
        ({"CHATLEDGER_HEARTBEAT": "9"}, "heartbeat"),
        ({"CHATLEDGER_CONFIG": "missing.toml"}, "missing.toml"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(data_folder: Path, env: dict[str, str], named: str) -> None:
    result = run_command(data_folder, "serve", env=env)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = lines_of(result.stderr)
    assert named in line
    assert "geheim" not in line
    assert not data_folder.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("openai_base_url", "provider.example/v1"),
        ("database_url", "sqlite:///:memory:"),
        ("database_url", "sqlite:////proc/x.db"),
        ("database_url", "sqlite:////proc/none/x.db"),
        ("database_url", "mysql://localhost/chat"),
        ("data_dir", "/proc/none/data"),
        ("data_dir", "file"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [("serve", "--port", "0"), ("apps", "create", "--mode", "chat", "--name", "x"), ("migrate",)],
    ids=["serve", "apps create", "migrate"],
)
def test_a_setting_that_cannot_be_leaves_nothing_behind(
    name: str,
    value: str,
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(tmp_path / "new" / "data"))
    monkeypatch.setenv(f"CHATLEDGER_{name.upper()}", value)
    monkeypatch.setattr(gc, "disable", lambda: None)
    assert main(command) == 2
    printed = capsys.readouterr()
    assert not printed.out
    (line,) = printed.err.splitlines()
    assert line.startswith(f"chatledger: {name}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "address", ["provider.example/v1", "ftp://provider.example", "https://ann:geheim@provider.example"]
)
def test_doctor_names_a_wrong_provider(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chatledger.toml").write_text(f"openai_base_url = '{address}'\n")
    assert main(["doctor"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("chatledger: openai_base_url: ")
    assert "geheim" not in line


@pytest.mark.parametrize("command", [("apps", "list"), ("migrate",), ("rebuild", "--check"), ("doctor",)], ids=" ".join)
def test_a_wrong_setting_stops_every_command(data_folder: Path, command: tuple[str, ...]) -> None:
    result = run_command(data_folder, *command, env={"CHATLEDGER_PROT": "8000"})
    assert (result.returncode, result.stdout) == (2, "")
    assert "CHATLEDGER_PROT" in result.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [("colour = 'red'\n", "chatledger.toml: colour: no such setting"), ("port = \n", "chatledger.toml")],
)
def test_a_wrong_settings_file_is_one_line_that_names_it(data_folder: Path, text: str, named: str) -> None:
    (data_folder.parent / "chatledger.toml").write_text(text)
    result = run_command(data_folder, "apps", "list")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = lines_of(result.stderr)
    assert named in line
