from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.findings import PROPERTY, Findings, table_of
from tests.support.databases import configure
from tests.support.postgres import PostgresServer

LINKS = 10
"""How many kills one ledger lives through."""

HAS_FAILED = pytest.StashKey[bool]()


def pytest_generate_tests(metafunc):
    """``seeds``: of all kills, a chain at a time. ``seed``: of one in ten, where each begins with a new ledger."""
    kills, first = metafunc.config.getoption("--kills"), metafunc.config.getoption("--first-seed")
    if "seeds" in metafunc.fixturenames:
        chains = [range(begin, min(begin + LINKS, first + kills)) for begin in range(first, first + kills, LINKS)]
        metafunc.parametrize("seeds", chains, ids=[f"{chain[0]}-{chain[-1]}" for chain in chains])
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(first, first + max(min(kills, 3), kills // 10)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        item.stash[HAS_FAILED] = True
    return report


def pytest_terminal_summary(terminalreporter, config):
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    called = [report for report in reports if getattr(report, "when", None) == "call"]
    rounds = [value for report in called for name, value in report.user_properties if name == PROPERTY]
    if rounds:
        terminalreporter.section("fault suite")
        for line in table_of(rounds):
            terminalreporter.write_line(line)
        folder = Path(config.getoption("--recordings"))
        kept = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        terminalreporter.write_line(f"recordings in {folder}: {len(kept)}" if kept else "no recordings were kept")


@pytest.fixture
def findings(request, record_property) -> Iterator[Findings]:
    """Where a test notes what its rounds have found."""
    config = request.config
    made = Findings(
        Path(config.getoption("--recordings")),
        keep_all=config.getoption("--keep-recordings"),
        record=record_property,
        database=request.getfixturevalue("database") if "database" in request.fixturenames else "postgres",
    )
    yield made
    made.close(failed=request.node.stash.get(HAS_FAILED, False))


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
