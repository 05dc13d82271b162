"""What can stand between a user and a ledger in PostgreSQL, each said in one line."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.databases import ON_POSTGRES, configure, ledger_of
from tests.support.postgres import GUARDED, PostgresServer
from tests.support.process import ServerProcess, lines_of, run_command, run_json

pytestmark = [ON_POSTGRES, pytest.mark.usefixtures("database")]

SERVE = ("serve", "--port", "0")
CREATE = ("apps", "create", "--mode", "chat", "--name", "x")
COMMANDS = [SERVE, CREATE, ("migrate",), ("rebuild",), ("rebuild", "--check"), ("apps", "list")]
PASSWORD = "ge#heim"


@pytest.fixture
def guarded_account(postgres_server: PostgresServer) -> Iterator[str]:
    """An account that may do nothing, and needs the password ``right``."""
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD 'right'")
        yield GUARDED
        connection.execute(f"DROP ROLE {GUARDED}")


def refused(data_folder: Path, *command: str, **env: str) -> str:
    """The line with which a command is refused."""
    result = run_command(data_folder, *command, env=env)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = lines_of(result.stderr)
    assert line.startswith("chatledger: ")
    assert PASSWORD not in line
    return line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_server_that_is_away(data_folder: Path, app: dict[str, str], command: tuple[str, ...]) -> None:
    configure(data_folder, f"postgresql://postgres:{PASSWORD}@127.0.0.1:1/chat")
    line = refused(data_folder, *command)
    assert "postgresql://127.0.0.1:1/chat" in line
    assert "Connection refused" in line


def test_a_database_that_does_not_exist(data_folder: Path) -> None:
    configure(data_folder, ledger_of(data_folder).replace("postgres@", f"postgres:{PASSWORD}@") + "_gone")
    line = refused(data_folder, *SERVE)
    assert "_gone" in line
    assert "does not exist" in line


@pytest.mark.parametrize(
    ("password", "env", "named"),
    [
        (f":{PASSWORD}", {}, "password authentication failed"),
        ("", {}, "no password supplied"),
        (":right", {}, "permission denied"),
        ("", {"PGPASSWORD": "right"}, "permission denied"),
    ],
    ids=["wrong", "none", "right", "right beside the address"],
)
def test_an_account_that_may_not(
    data_folder: Path, guarded_account: str, password: str, env: dict[str, str], named: str
) -> None:
    configure(data_folder, ledger_of(data_folder).replace("postgres@", f"{guarded_account}{password}@"))
    assert named in refused(data_folder, *SERVE, **env)


def test_an_account_that_may_not_make_tables(
    data_folder: Path, postgres_server: PostgresServer, postgres_url: str, guarded_account: str
) -> None:
    configure(data_folder, postgres_url.replace("postgres@", f"{guarded_account}:right@"))
    assert "permission denied for schema public" in refused(data_folder, "migrate")


def test_a_server_that_a_power_cut_robs(data_folder: Path, app: dict[str, str]) -> None:
    for command in (SERVE, CREATE, ("migrate",), ("rebuild",)):
        line = refused(data_folder, *command, CHATLEDGER_DURABILITY="full")
        assert "fsync" in line
        assert "durability" in line
    report = run_command(data_folder, "doctor", env={"CHATLEDGER_DURABILITY": "full"})
    assert report.returncode == 1
    assert "fsync" in report.stdout


def test_another_server_on_the_same_database(data_folder: Path, tmp_path: Path) -> None:
    with ServerProcess(data_folder):
        line = refused(tmp_path / "other", *SERVE)
    assert f"postgresql://{ledger_of(data_folder).rpartition('@')[2]} is in use by another server" in line


def test_a_data_folder_with_the_keys_of_another_ledger(data_folder: Path, app: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other"
    for command in (SERVE, CREATE, ("migrate",), ("rebuild",)):
        assert "not the one of the ledger" in refused(other, *command)
    assert "data keys" in run_command(other, "doctor").stdout
    assert [each["app_id"] for each in run_json(data_folder, "apps", "list")] == [app["app_id"]]
    assert run_command(data_folder, "rebuild", "--check").returncode == 0
