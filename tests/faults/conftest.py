from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.findings import PROPERTY, Findings, table_of
from tests.support.databases import configure
from tests.support.postgres import PostgresServer

LINKS = 10
"""How many kills one ledger lives through."""

SAMPLE = 3
"""As many kills as there are by default."""

FOLDER = "tests/faults/"


def pytest_generate_tests(metafunc):
    """``seeds``: of all kills, a chain at a time. ``seed``: of one in ten, where each begins with a new ledger.

    ``queue``: how many nodes share their work; a sample takes the one by which more can be killed.
    """
    kills, first = metafunc.config.getoption("--kills"), metafunc.config.getoption("--first-seed")
    if "seeds" in metafunc.fixturenames:
        chains = [range(begin, min(begin + LINKS, first + kills)) for begin in range(first, first + kills, LINKS)]
        metafunc.parametrize("seeds", chains, ids=[f"{chain[0]}-{chain[-1]}" for chain in chains])
    if "queue" in metafunc.fixturenames:
        nats = pytest.param("nats", marks=pytest.mark.nats)
        metafunc.parametrize("queue", ["postgres", nats] if kills > SAMPLE else [nats])
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(first, first + max(min(kills, 3), kills // 10)))


def pytest_terminal_summary(terminalreporter, config):
    reports = [report for reports in terminalreporter.stats.values() for report in reports if hasattr(report, "when")]
    ours = [report for report in reports if report.nodeid.startswith(FOLDER)]
    rounds = [
        value
        for report in ours
        if report.when == "teardown"
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    not_run = [report for report in ours if report.skipped or (report.failed and report.when == "setup")]
    if not (rounds or not_run):
        return
    terminalreporter.section("fault suite")
    for line in table_of(rounds) if rounds else ():
        terminalreporter.write_line(line)
    for report in not_run:
        terminalreporter.write_line(f"not run: {report.nodeid.removeprefix(FOLDER)}: {reason_of(report)}")
    if kept := sum(found["recordings"] for found in rounds):
        terminalreporter.write_line(f"recordings of this run in {config.getoption('--recordings')}: {kept}")
    else:
        terminalreporter.write_line("no recordings were kept of this run")


def reason_of(report: pytest.TestReport) -> str:
    """Why a test was skipped or could not begin, in a line."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else report.longreprtext).strip().splitlines()[0]


@pytest.fixture
def findings(request, record_property) -> Findings:
    """Where a test notes what its rounds have found."""
    config = request.config
    return Findings(
        Path(config.getoption("--recordings")),
        keep_all=config.getoption("--keep-recordings"),
        record=record_property,
        database=request.getfixturevalue("database") if "database" in request.fixturenames else "postgres",
    )


@pytest.fixture
def data_folder(tmp_path, database_url):
    """For a ledger in it, or in a database that lives on whatever happens to the server."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    configure(folder, database_url)
    return folder


@pytest.fixture(scope="module")
def mortal_database(new_postgres: Callable[..., PostgresServer]) -> Iterator[PostgresServer]:
    """A database server that syncs, for whoever kills it and starts it again."""
    with new_postgres(fsync=True) as server:
        yield server
