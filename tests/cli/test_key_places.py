"""From one server to many nodes with all keys, back, and what commands do where the keys are in PostgreSQL."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chatledger.adapters.cli.main import main
from tests.cli.conftest import Talk, make_app
from tests.support.databases import ON_POSTGRES
from tests.support.nodes import BY_POSTGRES, Nodes
from tests.support.postgres import PostgresServer
from tests.support.process import ServerProcess, run_command, run_json
from tests.support.tls import NO_TLS

pytestmark = [ON_POSTGRES, pytest.mark.usefixtures("database")]

TO_DATABASE, TO_FOLDER = ("keys", "copy", "--to", "database"), ("keys", "copy", "--to", "folder")


@pytest.fixture
def nowhere(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.fresh_database()
    yield url
    postgres_server.drop_database(url)


def shown(url: str, app: dict[str, str], conversation_id: str) -> list[tuple[str, str]]:
    """What was asked and answered in a conversation of ann's."""
    response = httpx.get(
        f"{url}/v1/messages",
        params={"user": "ann", "conversation_id": conversation_id},
        headers={"Authorization": f"Bearer {app['api_key']}"},
        verify=NO_TLS,
    )
    return [(each["query"], each["answer"]) for each in response.json()["data"]]


def test_one_server_becomes_two_nodes_and_one_again(
    data_folder: Path, database_url: str, talk: Talk, tmp_path: Path, nowhere: str
) -> None:
    app = make_app(data_folder)
    with ServerProcess(data_folder) as server:
        first = talk(server.url, app["api_key"])
        refused = run_command(data_folder, *TO_DATABASE)
        assert refused.returncode == 1
        assert "in use by another server" in refused.stderr
    said = [("hello", first["answer"])]

    copied = run_json(data_folder, *TO_DATABASE, "--remove-source")
    assert copied["source"] == str(data_folder / "keys.db")
    assert copied["keys"] > 3
    assert not (data_folder / "keys.db").exists()

    quiet = {"CHATLEDGER_CHECKPOINT_INTERVAL": "0", "CHATLEDGER_SHUTDOWN_GRACE": "1"}
    master_key = (data_folder / "master.key").read_bytes()
    exported = tmp_path / "exported"
    with Nodes(tmp_path / "nodes", database_url, BY_POSTGRES, apis=1, env=quiet, master_key=master_key) as nodes:
        url, conversation_id = nodes.apis[0].url, first["conversation_id"]
        assert shown(url, app, conversation_id) == said
        second = talk(url, app["api_key"], "more", conversation_id=conversation_id)
        assert shown(url, app, conversation_id) == [*said, ("more", second["answer"])]
        token = nodes.run("operators", "issue", "--name", "o", "--scope", "operate")["token"]
        stays = httpx.post(
            f"{url}/v1/admin/keys/rotate-master", verify=NO_TLS, headers={"Authorization": f"Bearer {token}"}
        )
        assert (stays.status_code, stays.json()["code"]) == (409, "no_successor")
        nodes.run("checkpoint")
        exported.mkdir()
        nodes.run("export", "--output", str(exported / "ledger"), "--keys", str(exported / "keys.db"))
        nodes.run("verify")
        checks = {check["check"]: check["verdict"] for check in nodes.run("doctor")["checks"]}
        assert (checks["key store"], checks["data keys"]) == ("ok", "ok")
    assert nodes.run("restored")["incarnation"]
    nodes.run("verify")

    # What they have exported becomes the ledger of other nodes, whose keys come after it.
    env = nodes.env | {"CHATLEDGER_DATABASE_URL": nowhere}
    elsewhere = tmp_path / "elsewhere" / "data"
    elsewhere.mkdir(parents=True, mode=0o700)
    assert not run_json(elsewhere, "import", str(exported / "ledger"), env=env)["has_keys"]
    shutil.copy(exported / "keys.db", elsewhere)
    shutil.copy(data_folder / "master.key", elsewhere)
    run_json(elsewhere, *TO_DATABASE, "--remove-source", env=env)
    run_json(elsewhere, "rebuild", env=env)
    assert run_json(elsewhere, "doctor", env=env)["ok"]

    run_json(data_folder, *TO_FOLDER, "--remove-source")
    assert run_json(data_folder, "doctor")["ok"]


def test_a_copy_that_cannot_be_made_and_what_a_doctor_says_of_such_a_database(
    tmp_path: Path, nowhere: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(tmp_path / "data"))

    def refused(*command: str, because: str, code: int = 1) -> None:
        assert main(command) == code
        assert because in capsys.readouterr().err

    refused(*TO_DATABASE, because="keys_url: neither", code=2)
    monkeypatch.setenv("CHATLEDGER_KEYS_URL", nowhere)
    refused(*TO_FOLDER, because="there is no key store in")
    refused("migrate", because="without fsync")
    assert main(["doctor", "--json"]) == 1
    checks = {check["check"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["key store"]["verdict"] == "failed"
    assert "without fsync" in checks["key store"]["detail"]
    monkeypatch.setenv("CHATLEDGER_DURABILITY", "relaxed")
    key = tmp_path / "elsewhere.key"
    monkeypatch.setenv("CHATLEDGER_MASTER_KEY_FILE", str(key))
    assert main(["migrate"]) == 0
    key.chmod(0o644)
    capsys.readouterr()
    (tmp_path / "data" / "keys.db").touch(0o600)
    assert main(["doctor", "--json"]) == 0
    checks = {check["check"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["key store"]["verdict"] == "ok"
    warnings = [checks[name] for name in ("master key", "keys elsewhere")]
    assert [check["verdict"] for check in warnings] == ["warning", "warning"]
    assert f"{key} is open to others (mode 0644)" in warnings[0]["detail"]
