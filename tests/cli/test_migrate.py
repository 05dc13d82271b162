"""The schema, from nothing to this release's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import NewLedger
from tests.support.process import ServerProcess, run_command, run_json


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str | None]:
    """Of a database without so much as a schema."""
    with new_ledger("template1") as url:
        yield url


def test_from_nothing_and_then_no_further(data_folder: Path) -> None:
    first = run_command(data_folder, "migrate")
    assert first.returncode == 0
    assert "was empty" in first.stdout
    again = run_json(data_folder, "migrate")
    assert again["before"] == again["revision"]
    assert run_json(data_folder, "apps", "list") == []
    assert run_command(data_folder, "doctor").returncode == 0


def test_not_under_a_running_server(data_folder: Path) -> None:
    with ServerProcess(data_folder) as server:
        result = run_command(data_folder, "migrate")
        assert (result.returncode, result.stdout) == (1, "")
        assert str(server.pid) in result.stderr
