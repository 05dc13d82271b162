"""The server as a process: ready, first credentials, alone, killed."""

import json
import os
import pty
import signal
import socket
import stat
import subprocess
import time
import tomllib
from pathlib import Path

import httpx
import pytest

from tests.support.databases import ON_SQLITE
from tests.support.process import (
    COMMAND,
    START_WITHIN,
    ServerProcess,
    environment,
    lines_of,
    run_command,
    run_json,
)
from tests.support.tls import NO_TLS

CREDENTIALS = "first-credentials.toml"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_an_empty_data_folder_becomes_two_apps_and_an_operator(data_folder: Path) -> None:
    with ServerProcess(data_folder) as server:
        assert set(server.ready) == {"event", "url"}
        assert server.ready["event"] == "ready"

        file = data_folder / CREDENTIALS
        assert mode_of(data_folder) == 0o700
        assert mode_of(file) == 0o600
        assert mode_of(data_folder / "control.sock") == 0o600
        made = tomllib.loads(file.read_text())
        assert set(made) == {"operator", "chat", "completion"}
        assert made["operator"]["scopes"] == ["operate", "audit"]
        assert (
            httpx.get(f"{server.url}/v1/parameters", verify=NO_TLS, headers=bearer(made["chat"]["api_key"])).status_code
            == 200
        )
        assert httpx.get(
            f"{server.url}/api/passport", verify=NO_TLS, headers={"X-App-Code": made["chat"]["site_code"]}
        ).is_success

        apps = run_json(data_folder, "apps", "list")
        assert [app["mode"] for app in apps] == ["chat", "completion"]
        assert {app["generator"] for app in apps} == {"extractive"}
        shown = run_json(data_folder, "apps", "show", made["completion"]["app_id"])
        (variable,) = shown["configuration"]["user_input_form"]
        assert (variable["variable"], variable["type"], variable["required"]) == ("query", "paragraph", True)

    log = server.log.read_text()
    secrets = [made["operator"]["token"], made["chat"]["api_key"], made["completion"]["api_key"]]
    assert not any(secret in log for secret in secrets)
    assert CREDENTIALS in log
    assert all(line[:4].isdigit() for line in lines_of(log)), log

    file.unlink()
    with ServerProcess(data_folder):
        assert not file.exists()
        assert len(run_json(data_folder, "apps", "list")) == 2


def test_apps_of_ones_own_make_the_first_ones_superfluous(data_folder: Path, app: dict[str, str]) -> None:
    with ServerProcess(data_folder):
        assert set(tomllib.loads((data_folder / CREDENTIALS).read_text())) == {"operator"}
        assert [each["app_id"] for each in run_json(data_folder, "apps", "list")] == [app["app_id"]]


def test_a_first_start_that_was_cut_short_is_made_good(data_folder: Path) -> None:
    assert run_command(data_folder, "migrate").returncode == 0
    (data_folder / CREDENTIALS).touch(mode=0o600)
    with ServerProcess(data_folder):
        assert set(tomllib.loads((data_folder / CREDENTIALS).read_text())) == {"operator", "chat", "completion"}


@ON_SQLITE
def test_a_terminal_is_shown_the_credentials(data_folder: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "serve", "--port", "0"]
    folder = data_folder.parent
    with subprocess.Popen(
        command, env=environment(data_folder), cwd=folder, stdout=theirs, stderr=subprocess.PIPE
    ) as process:
        os.close(theirs)
        shown, deadline = b"", time.monotonic() + START_WITHIN
        while b"is ready at" not in shown:
            assert time.monotonic() < deadline, shown
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        log = process.stderr.read()
    os.close(ours)
    token = tomllib.loads((data_folder / CREDENTIALS).read_text())["operator"]["token"].encode()
    assert token in shown
    assert token not in log


def test_a_second_server_is_refused(data_folder: Path) -> None:
    with ServerProcess(data_folder) as server:
        result = run_command(data_folder, "serve", "--port", "0", "--json")
        assert (result.returncode, result.stdout) == (1, "")
        (line,) = lines_of(result.stderr)
        assert str(data_folder) in line
        assert str(server.pid) in line
        assert httpx.get(f"{server.url}/v1/info", verify=NO_TLS).status_code == 401


@ON_SQLITE
def test_a_taken_port_is_refused(data_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run_command(data_folder, "serve", "--port", port, "--json")
    assert (result.returncode, result.stdout) == (1, "")
    assert port in lines_of(result.stderr)[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.faults
def test_what_a_killed_server_leaves_behind_stops_nobody(data_folder: Path) -> None:
    server = ServerProcess(data_folder).start()
    server.kill()
    assert (data_folder / "control.sock").exists()

    made = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "beside a stale socket")
    assert not run_json(data_folder, "doctor")["checks"][3]["detail"].startswith("chatledger")
    with ServerProcess(data_folder) as second:
        checks = {check["check"]: check["detail"] for check in run_json(data_folder, "doctor")["checks"]}
        assert str(second.pid) in checks["server"]
        run_json(data_folder, "apps", "rotate-key", made["app_id"])
        assert "control: apps rotate-key" in second.log.read_text()
    assert not (data_folder / "control.sock").exists()


def test_a_data_folder_with_a_long_path(tmp_path: Path) -> None:
    data_folder = tmp_path / ("long" * 20) / ("longer" * 20) / "data"
    data_folder.parent.mkdir(parents=True)
    server = ServerProcess(data_folder).start()
    socket_file = (data_folder / "control.sock").readlink()
    assert (mode_of(socket_file), mode_of(socket_file.parent)) == (0o600, 0o700)
    run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x")
    assert "control: apps create" in server.log.read_text()
    server.kill()
    with ServerProcess(data_folder):
        run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "y")
        assert not socket_file.exists()
    assert not (data_folder / "control.sock").is_symlink()


@ON_SQLITE
def test_the_control_socket_bounds_what_it_is_sent(data_folder: Path) -> None:
    with ServerProcess(data_folder) as server:
        for line in (b"{}\n", b"not json\n", b'{"type":"erase"}\n', b"x" * 3_000_000 + b"\n"):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(str(data_folder / "control.sock"))
                try:
                    connection.sendall(line)
                    answer = connection.makefile("rb").readline()
                except (BrokenPipeError, ConnectionResetError):
                    continue
                assert json.loads(answer)["type"] == "failure"
        assert len(run_json(data_folder, "apps", "list")) == 2
        assert server.process.poll() is None


def test_without_a_worker_messages_wait(data_folder: Path, app: dict[str, str]) -> None:
    body = {"inputs": {}, "query": "hello", "user": "ann", "response_mode": "async"}
    with ServerProcess(data_folder, "--no-worker") as server:
        sent = httpx.post(f"{server.url}/v1/chat-messages", verify=NO_TLS, json=body, headers=bearer(app["api_key"]))
        assert sent.status_code in (200, 202), sent.text
        task = httpx.get(
            f"{server.url}/v1/tasks/{sent.json()['task_id']}", verify=NO_TLS, headers=bearer(app["api_key"])
        )
        assert "queued" in task.text
    (warning,) = [line for line in server.log.read_text().splitlines() if " WARNING " in line]
    assert "messages stay queued until a server with workers runs" in warning


@ON_SQLITE
def test_a_worker_of_its_own_needs_a_queue_that_others_reach(data_folder: Path) -> None:
    refused = run_command(data_folder, "worker")
    assert (refused.returncode, refused.stderr) == (
        2,
        "chatledger: queue: a worker of its own needs nats or postgres, by which others hand work to it\n",
    )
