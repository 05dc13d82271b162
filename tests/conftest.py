"""Options of the test run, and the servers that its tests share."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import pytest

from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.migrate import upgrade
from tests.support.databases import EACH_DATABASE, NewLedger, connection_to
from tests.support.nats import NatsCluster, NatsServer, NoNatsError
from tests.support.postgres import NoPostgresError, PostgresServer

Nats = TypeVar("Nats")

LONG = (
    "tests/http/test_openapi.py",
    "tests/http/test_acceptance.py",
    "tests/http/test_disconnecting.py",
    "tests/http/test_server.py",
    "tests/properties/",
    "tests/faults/",
    "tests/cli/",
    "tests/audit/",
    "tests/generators/test_local_model.py",
)
"""Where tests take seconds each, or a file of them takes a minute."""


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how many servers are killed in the middle of their streams")
    parser.addoption("--first-seed", type=int, default=1, help="the seed of the first of them; the others count on")
    parser.addoption("--only", dest="keyword", default="", metavar="NAME", help="the tests of this name, as -k does")
    parser.addoption("--recordings", default="fault-recordings", help="the folder of what clients of faults received")
    parser.addoption("--keep-recordings", action="store_true", help="keep them also where nothing was wrong")
    parser.addoption("--cuts", type=int, default=15, help="how many connections are cut in the middle of a COMMIT")
    parser.addoption("--streams", type=int, default=8, help="how many streams run while nodes are killed")
    parser.addoption("--outage", type=float, default=2, help="for how many seconds all of NATS is away")
    parser.addoption("--senders", type=int, default=10, help="how many histories of concurrent senders are played")
    parser.addoption("--all-figures", action="store_true", help="try each benchmark of many nodes, not one of them")
    parser.addoption("--events", type=int, default=2_000, help="how long the ledgers are that are tampered with")
    parser.addoption("--rebuilt", type=int, default=5_000, help="how many events are rebuilt while clients go on")
    parser.addoption("--histories", type=int, default=1, help="how many histories are asked at each of their moments")
    parser.addoption("--people", type=int, default=8, help="how many people write while one of them is erased")
    parser.addoption(
        "--canaries", type=int, default=60, help="how much the erased one has said that is sought after it"
    )
    parser.addoption("--pages", type=int, default=8, help="how many pages of events a subscription catches up with")
    parser.addoption("--write-compatibility", action="store_true", help="write docs/compatibility.md from the run")
    parser.addoption(
        "--shape",
        choices=("in_process", "postgres", "nats"),
        default="in_process",
        help="how work travels to the workers of the servers of tests/http: but for in_process they are processes too",
    )
    parser.addoption("--tail-seconds", type=float, default=4, help="how long many writers write and one follows")


def pytest_configure() -> None:
    """A run in the background of a script ignores Ctrl-C, and so would every command that is interrupted by a test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first: at the end of a run nobody waits for the one who is still at such a file."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="session")
def new_postgres() -> Callable[..., PostgresServer]:
    """Makes PostgreSQL servers, not yet started."""

    def new(**settings: Any) -> PostgresServer:
        try:
            return PostgresServer(**settings)
        except NoPostgresError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))

    return new


@pytest.fixture(scope="session")
def postgres_server(new_postgres: Callable[..., PostgresServer]) -> Iterator[PostgresServer]:
    """A PostgreSQL server for tests that leave it running."""
    with new_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A new, empty database."""
    url = postgres_server.fresh_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def new_nats() -> Callable[..., NatsServer]:
    """Makes NATS servers, not yet started."""
    return partial(_nats, NatsServer)


@pytest.fixture(scope="session")
def nats_server(new_nats: Callable[..., NatsServer]) -> Iterator[NatsServer]:
    """A NATS server for tests that leave it running. What a ledger has there is its own."""
    with new_nats() as server:
        yield server


@pytest.fixture(scope="session")
def nats_cluster() -> Iterator[NatsCluster]:
    """A cluster of three NATS servers for tests that leave all three running."""
    with _nats(NatsCluster) as cluster:
        yield cluster


def _nats(kind: Callable[..., Nats], **settings: Any) -> Nats:
    try:
        return kind(**settings)
    except NoNatsError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> str:
    """The name of a database with an empty ledger, to be copied."""
    url = postgres_server.fresh_database()
    with database_at(url, "relaxed").alone() as engine:
        upgrade(engine)
    return url.rpartition("/")[2]


@pytest.fixture(scope="session")
def database_of_keys(postgres_server: PostgresServer) -> str:
    """A database for key stores, one after the other."""
    return postgres_server.fresh_database()


@pytest.fixture
def keys_url(database: str, request: pytest.FixtureRequest) -> str | None:
    """Where the keys of this test are: None for a file in a folder of their own, or the URL of a place without any."""
    if database == "sqlite":
        return None
    url: str = request.getfixturevalue("database_of_keys")
    with connection_to(url) as connection:
        tables = "SELECT format('DELETE FROM %I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = %s"
        for (empty,) in connection.exec_driver_sql(tables.replace("%I", "%%I"), ("chatledger_keys",)).all():
            connection.exec_driver_sql(empty)
    return url


@pytest.fixture(scope="session", params=EACH_DATABASE)
def database(request: pytest.FixtureRequest) -> str:
    """Which database the ledger of a test is in: whatever touches the store runs on each."""
    return request.param


@pytest.fixture(scope="session")
def new_ledger(database: str, request: pytest.FixtureRequest) -> NewLedger:
    """Makes places for ledgers: None for a file in a folder of their own, or the URL of an empty ledger.

    Where a template is named, the place is a copy of that database.
    """
    if database == "sqlite":
        return lambda _template=None: nullcontext()
    server: PostgresServer = request.getfixturevalue("postgres_server")
    empty: str = request.getfixturevalue("migrated_database")

    @contextmanager
    def in_postgres(template: str | None = None) -> Iterator[str]:
        url = server.fresh_database(template or empty)
        yield url
        server.drop_database(url)

    return in_postgres


@pytest.fixture(scope="session")
def shared_database(postgres_server: PostgresServer, migrated_database: str) -> Iterator[str]:
    """An empty ledger in PostgreSQL for tests that leave nothing in it."""
    url = postgres_server.fresh_database(migrated_database)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str | None]:
    """Where the ledger of this test is: a place for itself alone."""
    with new_ledger() as url:
        yield url
