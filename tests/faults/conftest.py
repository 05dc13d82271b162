from collections.abc import Callable, Iterator

import pytest

from tests.support.databases import configure
from tests.support.postgres import PostgresServer


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("--first-seed")
        metafunc.parametrize("seed", range(first, first + metafunc.config.getoption("--kills")))


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
