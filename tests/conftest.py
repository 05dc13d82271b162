"""Options of the test run, and the servers that its tests share."""

import os
from collections.abc import Iterator

import pytest

from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.migrate import upgrade
from tests.support.postgres import NoPostgresError, PostgresServer


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how many servers are killed in the middle of their streams")
    parser.addoption("--first-seed", type=int, default=1, help="the seed of the first of them; the others count on")
    parser.addoption("--cuts", type=int, default=15, help="how many connections are cut in the middle of a COMMIT")
    parser.addoption("--tail-seconds", type=float, default=4, help="how long many writers write and one follows")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for tests that leave it running."""
    try:
        server = PostgresServer()
    except NoPostgresError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A new, empty database."""
    url = postgres_server.fresh_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> str:
    """The name of a database with an empty ledger, to be copied."""
    url = postgres_server.fresh_database()
    with database_at(url, "relaxed").alone() as engine:
        upgrade(engine)
    return url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where the ledger of a test is: each runs with a file of its own folder (None), and with PostgreSQL."""
    if request.param == "sqlite":
        yield None
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.fresh_database(request.getfixturevalue("migrated_database"))
    yield url
    server.drop_database(url)
