"""``chatledger webhooks``, with a server at work and without."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from chatledger.adapters.cli.main import main
from tests.support.databases import ON_SQLITE
from tests.support.process import ServerProcess

NOWHERE = "00000000-0000-4000-8000-000000000000"


class Heard(HTTPServer):
    """What it was told; and what it says to it."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], bytes]] = []
        self.status = 204

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805 - the library's name; the server is named already
                body = handler.rfile.read(int(handler.headers["content-length"]))
                self.told.append((dict(handler.headers), body))
                handler.send_response(self.status)
                handler.send_header("content-length", "0")
                handler.end_headers()

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def heard():
    with Heard() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def run(monkeypatch, data_folder, capsys):
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(data_folder))
    monkeypatch.setenv("CHATLEDGER_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8")

    def run_it(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main(["webhooks", *arguments, "--json"]) == code
        printed = capsys.readouterr()
        return json.loads(printed.out) if printed.out else printed.err

    return run_it


@ON_SQLITE
@pytest.mark.parametrize("has_server", [False, True], ids=["no server", "server"])
def test_from_the_first_to_the_last(data_folder, app, run, heard, has_server, tmp_path):
    allowed = {"CHATLEDGER_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
    server = ServerProcess(data_folder, env=allowed)
    if has_server:
        server.start()
    try:
        url = f"http://127.0.0.1:{heard.server_port}/hook?token=7"
        added = run("add", url, "--app", app["app_id"], "--type", "MessageCompleted")
        endpoint = added["endpoint_id"]
        (listed,) = run("list")
        assert (listed["url"], listed["app_id"], listed["types"]) == (url, app["app_id"], ["MessageCompleted"])
        assert added["secret"] not in json.dumps(listed)
        assert run("test", endpoint)["outcome"] == "204"
        headers, body = heard.told[-1]
        assert Webhook(added["secret"]).verify(body, headers)["type"] == "chatledger.webhook.test"
        heard.status = 500
        assert run("test", endpoint, code=1)["is_success"] is False

        own = tmp_path / "secret"
        own.write_text("whsec_" + "QUFB" * 8 + "\n")
        assert run("rotate-secret", endpoint, "--secret-file", str(own), "--overlap", "0")["secret"].endswith("QUFB")
        assert run("disable", endpoint)["is_now"] == "disabled"
        assert run("list")[0]["disabled_for"] == "operator"
        assert run("enable", endpoint)["is_now"] == "enabled"
        assert run("dead-letters", endpoint) == []
        assert run("replay", endpoint)["dead_letters"] is None
        assert run("replay", endpoint, "--dead-letters")["dead_letters"] == 0
        assert run("remove", endpoint)["is_now"] == "removed"
        assert run("list") == []
    finally:
        if has_server:
            server.stop()


@ON_SQLITE
@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("add", "https://10.0.0.1/"), 2, "url"),
        (("add", "ftp://example.org/"), 2, "url"),
        (("add", "https://127.0.0.1/", "--type", "Nothing"), 2, "types"),
        (("add", "https://127.0.0.1/", "--after", "x"), 2, "after"),
        (("add", "https://127.0.0.1/", "--secret-file", "nowhere"), 2, "nowhere"),
        (("add", "https://127.0.0.1/", "--app", NOWHERE), 1, "no such app"),
        (("remove", NOWHERE), 1, "no such webhook"),
        (("dead-letters", NOWHERE), 1, "no such webhook"),
        (("replay", NOWHERE, "--dead-letters", "--after", "x"), 2, "exclude"),
        (("replay", NOWHERE, "--position", "7"), 2, "--dead-letters"),
    ],
)
def test_what_cannot_be_is_refused(app, run, arguments, code, reason):
    assert reason in run(*arguments, code=code)
