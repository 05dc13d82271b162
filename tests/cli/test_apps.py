"""Apps, with a server at work and without: the same words, the same outcome."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chatledger.adapters.cli.main import main
from tests.support.databases import ON_SQLITE
from tests.support.process import ServerProcess, run_command, run_json
from tests.support.tls import NO_TLS

SCRIPTED = ("--generator", "scripted", "--set", "tokens=3")


@pytest.fixture(params=["no server", "server"])
def server(request: pytest.FixtureRequest, data_folder: Path) -> Iterator[ServerProcess | None]:
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(ServerProcess(data_folder)) if request.param == "server" else None


WITH_A_SERVER = pytest.mark.parametrize("server", ["server"], indirect=True)


def opens(server: ServerProcess, api_key: str) -> int:
    headers = {"Authorization": f"Bearer {api_key}"}
    return httpx.get(f"{server.url}/v1/conversations?user=ann", verify=NO_TLS, headers=headers, timeout=10).status_code


def test_an_app_from_its_creation_to_its_second_key(data_folder: Path, server: ServerProcess | None) -> None:
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "Ann's", *SCRIPTED)
    assert set(created) == {"app_id", "api_key", "mode", "site_code"}
    assert created["mode"] == "chat"
    assert created["api_key"].startswith("app-")

    app_id = created["app_id"]
    listed = {app["app_id"]: app for app in run_json(data_folder, "apps", "list")}
    assert listed[app_id]["name"] == "Ann's"
    assert listed[app_id]["generator"] == "scripted"

    shown = run_json(data_folder, "apps", "show", app_id)
    assert shown["configuration"]["settings"] == {"tokens": "3"}
    assert created["api_key"] not in json.dumps([shown, listed])

    (data_folder.parent / "app.toml").write_text(
        'description = "Counts."\n\n[settings]\ntokens = 4\n\n[[user_input_form]]\nvariable = "city"\n'
    )
    configured = run_json(
        data_folder,
        *("apps", "configure", app_id, "--file", "app.toml"),
        *("--set", "interval_ms=1", "--unset", "tokens", "--opening-statement", "Welcome."),
    )
    shown = run_json(data_folder, "apps", "show", app_id)
    assert configured == {"app_id": app_id, "configuration": shown["configuration"]}
    assert shown["configuration"]["settings"] == {"interval_ms": "1"}
    assert shown["configuration"]["description"] == "Counts."
    assert shown["configuration"]["opening_statement"] == "Welcome."
    assert shown["configuration"]["user_input_form"][0]["variable"] == "city"

    configured = run_json(data_folder, "apps", "configure", app_id, "--generator", "extractive")
    assert configured["configuration"]["settings"] == {}
    assert configured["configuration"]["description"] == "Counts."

    rotated = run_json(data_folder, "apps", "rotate-key", app_id)
    assert rotated["app_id"] == app_id
    assert rotated["api_key"] != created["api_key"]
    if server is not None:
        assert (opens(server, created["api_key"]), opens(server, rotated["api_key"])) == (401, 200)
        log = server.log.read_text()
        assert created["api_key"] not in log
        assert rotated["api_key"] not in log
        assert "Ann" not in log


def enters(server: ServerProcess, site_code: str, passport: str = "") -> int:
    headers = {"X-App-Code": site_code, "X-App-Passport": passport}
    return httpx.get(
        f"{server.url}/api/{'site' if passport else 'passport'}", verify=NO_TLS, headers=headers, timeout=10
    ).status_code


@ON_SQLITE
@WITH_A_SERVER
def test_a_site_from_its_first_code_to_its_end(data_folder: Path, server: ServerProcess) -> None:
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", *SCRIPTED)
    app_id, code = created["app_id"], created["site_code"]
    assert run_json(data_folder, "apps", "show", app_id)["site_code"] == code
    renewed = run_json(data_folder, "apps", "renew-site", app_id)
    assert renewed == {"app_id": app_id, "site_code": run_json(data_folder, "apps", "show", app_id)["site_code"]}
    assert renewed["site_code"] != code
    assert (enters(server, code), enters(server, renewed["site_code"])) == (400, 200)

    for command, status in (("disable", "disabled"), ("enable", "normal"), ("delete", "deleted")):
        assert run_json(data_folder, "apps", command, app_id) == {"app_id": app_id, "status": status}
        assert run_json(data_folder, "apps", "show", app_id)["status"] == status
        assert opens(server, created["api_key"]) == (200 if status == "normal" else 403)
        assert enters(server, renewed["site_code"]) == (200 if status == "normal" else 404)

    refused = run_command(data_folder, "apps", "enable", app_id)
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", "chatledger: The app no longer exists.\n")


@ON_SQLITE
@WITH_A_SERVER
def test_passports_under_another_key(data_folder: Path, server: ServerProcess) -> None:
    code = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", *SCRIPTED)["site_code"]
    given = httpx.get(f"{server.url}/api/passport", verify=NO_TLS, headers={"X-App-Code": code}, timeout=10)
    passport = given.json()["access_token"]

    first = run_json(data_folder, "passports", "rotate-key")
    assert enters(server, code, passport) == 200
    second = run_json(data_folder, "passports", "rotate-key", "--forget-earlier")
    assert enters(server, code, passport) == 401

    assert list(first) == list(second) == ["key_id"]
    assert first != second


@ON_SQLITE
def test_what_an_app_cannot_be_is_refused(data_folder: Path, server: ServerProcess | None, tmp_path: Path) -> None:
    app_id = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", *SCRIPTED)["app_id"]
    before = run_json(data_folder, "apps", "list")
    (tmp_path / "unknown.toml").write_text("colour = 'red'\n")
    (tmp_path / "wrong.toml").write_text("tags = 7\n")
    (tmp_path / "broken.toml").write_text("tags = [\n")
    nobody = "01a209a6-4c1a-756e-9e41-fd25454ea5dc"
    new = ("apps", "create", "--mode", "chat", "--name", "y")
    configure = ("apps", "configure", app_id)
    refusals: list[tuple[tuple[str, ...], int, str]] = [
        ((*new, "--generator", "oracle"), 2, "oracle"),
        ((*new, "--generator", "scripted", "--set", "colour=red"), 2, "colour"),
        ((*new, "--generator", "scripted", "--set", "tokens=many"), 2, "tokens"),
        ((*configure, "--set", "colour=red"), 2, "colour"),
        ((*configure, "--unset", "text"), 2, "text"),
        ((*configure, "--generator", "oracle"), 2, "oracle"),
        ((*configure, "--file", "unknown.toml"), 2, "colour"),
        ((*configure, "--file", "wrong.toml"), 2, "tags"),
        ((*configure, "--file", "broken.toml"), 2, "broken.toml"),
        ((*configure, "--file", "missing.toml"), 2, "missing.toml"),
        (("apps", "configure", nobody, "--set", "tokens=1"), 1, "no such app"),
        (("apps", "show", nobody), 1, "no such app"),
        (("apps", "rotate-key", nobody), 1, "no such app"),
        (("apps", "renew-site", nobody), 1, "no such app"),
        (("apps", "delete", nobody), 1, "no such app"),
    ]
    # A server takes an order in no time; without one each command opens the store.
    for arguments, code, named in refusals if server else refusals[::4]:
        result = run_command(data_folder, *arguments)
        assert (result.returncode, result.stdout) == (code, ""), arguments
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert named in result.stderr
    assert run_json(data_folder, "apps", "list") == before


@ON_SQLITE
def test_a_name_gives_no_orders_to_the_terminal(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(data_folder.parent)
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(data_folder))
    name = "A\x1b[2J\x9b1m\x7f\r\n\u202eé漢"
    assert main(["apps", "create", "--mode", "chat", "--name", name, "--json"]) == 0
    app_id = json.loads(capsys.readouterr().out)["app_id"]
    for command in (["apps", "list"], ["apps", "show", app_id]):
        for option in ([], ["--json"]):
            assert main([*command, *option]) == 0
            printed = capsys.readouterr().out
            assert all(line.isprintable() for line in printed.split("\n")), printed
            assert r"A\u001b[2J\u009b1m\u007f\r\n\u202eé漢" in printed
    assert json.loads(printed)["name"] == name


def test_the_words_for_people(data_folder: Path, app: dict[str, str]) -> None:
    listed = run_command(data_folder, "apps", "list").stdout
    shown = run_command(data_folder, "apps", "show", app["app_id"]).stdout
    rotated = run_command(data_folder, "apps", "rotate-key", app["app_id"]).stdout
    assert app["app_id"] in listed
    assert "Words" in listed
    assert "scripted" in shown
    assert "api_key  app-" in rotated


@ON_SQLITE
def test_a_completion_app_may_be_asked_through_its_inputs(data_folder: Path) -> None:
    made = run_json(data_folder, "apps", "create", "--mode", "completion", "--name", "x", *SCRIPTED)
    shown = run_json(data_folder, "apps", "show", made["app_id"])
    (variable,) = shown["configuration"]["user_input_form"]
    assert (variable["variable"], variable["type"], variable["required"]) == ("query", "paragraph", False)


def test_there_is_nothing_to_read_before_there_is_a_store(data_folder: Path) -> None:
    result = run_command(data_folder, "apps", "list")
    assert (result.returncode, result.stdout) == (1, "")
    assert f"there is no {data_folder}" in result.stderr
    assert not data_folder.exists()
