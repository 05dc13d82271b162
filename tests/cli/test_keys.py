"""``chatledger keys`` where no server runs; docs/auditing.md has them beside one, and is run as it stands."""

import json
from pathlib import Path

import pytest

from chatledger.adapters.cli.main import main
from tests.support.databases import ON_SQLITE


@ON_SQLITE
def test_keys_are_rotated_where_no_server_runs(
    data_folder: Path, app: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", str(data_folder))
    monkeypatch.chdir(data_folder.parent)
    former = (data_folder / "master.key").read_bytes()
    capsys.readouterr()

    assert main(["keys", "rotate-master", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["keys"] > 1
    assert (data_folder / "master.key").read_bytes() != former
    assert main(["keys", "rotate-user", "--app", app["app_id"], "--user", "nobody"]) == 1
    assert "no such end user" in capsys.readouterr().err
