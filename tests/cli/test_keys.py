"""``chatledger keys``, with a server at work and without."""

import json
from pathlib import Path

import pytest

from chatledger.adapters.cli.main import main
from tests.support.databases import ON_SQLITE
from tests.support.process import ServerProcess


@ON_SQLITE
def test_keys_are_rotated_with_a_server_at_work_and_without(
    data_folder: Path,
    app: dict[str, str],
    talk,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(data_folder))
    monkeypatch.chdir(data_folder.parent)

    def keys(*arguments: str) -> int:
        capsys.readouterr()
        assert main(["keys", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)["keys"]

    def master_key() -> bytes:
        return (data_folder / "master.key").read_bytes()

    user, masters = ("rotate-user", "--app", app["app_id"], "--user"), {master_key()}
    with ServerProcess(data_folder) as server:
        said = talk(server.url, app["api_key"])
        assert keys(*user, "ann") == 1
        assert keys("rotate-master") > 1
        masters.add(master_key())
        again = talk(server.url, app["api_key"], conversation_id=said["conversation_id"])
        assert again["conversation_id"] == said["conversation_id"]
    assert keys(*user, "ann") == 1
    assert keys("rotate-master") > 1
    assert len(masters | {master_key()}) == 3
    assert main(["keys", *user, "nobody"]) == 1
    assert "no such end user" in capsys.readouterr().err
