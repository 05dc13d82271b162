"""The PostgreSQL server of the test run: it starts, crashes, comes back, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import NoPostgresError, PostgresServer, find_binaries
from tests.support.process import until

pytestmark = pytest.mark.postgres


def test_databases_are_empty_and_apart(postgres_server: PostgresServer, postgres_url: str) -> None:
    other_url = postgres_server.fresh_database()
    assert other_url != postgres_url
    with psycopg.connect(postgres_url) as one, psycopg.connect(other_url) as other:
        one.execute("CREATE TABLE notes (text TEXT)")
        one.commit()
        assert other.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        assert other.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert other.execute("SHOW max_connections").fetchone() == ("100",)
        assert other.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    with psycopg.connect(other_url):
        postgres_server.drop_database(other_url)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(other_url)


@pytest.mark.faults
def test_what_was_committed_survives_a_crash_and_nothing_else_does() -> None:
    with PostgresServer(fsync=True) as server:
        url = server.fresh_database()
        for crash in range(3):
            connection = psycopg.connect(url)
            connection.execute("CREATE TABLE IF NOT EXISTS crashes (number INT)")
            connection.execute("INSERT INTO crashes VALUES (%s)", (crash,))
            connection.commit()
            connection.execute("INSERT INTO crashes VALUES (99)")
            server.kill()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
            connection.close()
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url)
            server.start()
            assert server.url_of(url.rpartition("/")[2]) == url
            with psycopg.connect(url) as again:
                assert again.execute("SELECT number FROM crashes").fetchall() == [(n,) for n in range(crash + 1)]
        folder = server.folder
    assert not folder.exists()


def test_it_dies_with_a_test_run_that_is_killed() -> None:
    script = (
        "import sys; from tests.support.postgres import PostgresServer; server = PostgresServer().start();"
        "print(server.folder, server._started().pid, flush=True); sys.stdin.read()"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        folder, pid = run.stdout.readline().split()
        assert (Path(folder) / "data" / "postmaster.pid").exists()
        run.send_signal(signal.SIGKILL)
    until(lambda: not Path(folder).exists(), what="the end of the folder")
    until(lambda: not _runs(int(pid)), what="the end of the server")


def _runs(pid: int) -> bool:
    """Whether there is such a process that is not merely waiting to be buried."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root runs the server under his own account")
def test_an_installation_in_a_closed_folder_is_reached_without_opening_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    installed = find_binaries()
    for part in installed.parents[2].glob(f"{installed.parents[1].name}*"):
        (closed / part.name).symlink_to(part)
    bin_folder = closed / installed.relative_to(installed.parents[2])
    monkeypatch.setattr("tests.support.postgres.find_binaries", lambda: bin_folder)
    with PostgresServer() as server, psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert closed.stat().st_mode & 0o777 == 0o700


def test_a_machine_without_postgres_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.support.postgres.WHEEL", "no_such_package")
    monkeypatch.setattr("tests.support.postgres.DEBIAN", tmp_path)
    with pytest.raises(NoPostgresError, match=r"neither the package no-such-package.* nor Debian's"):
        PostgresServer()


def test_what_keeps_it_from_starting_is_told() -> None:
    with PostgresServer() as server:
        server.kill()
        server._settings["shared_buffers"] = "much"
        with pytest.raises(RuntimeError, match='invalid value for parameter "shared_buffers"'):
            server.start()
        del server._settings["shared_buffers"]
        server.start()
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
