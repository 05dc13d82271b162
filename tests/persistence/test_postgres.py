"""What is PostgreSQL's own: its locks, its connections and how they are lost, and what it tells its listeners."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.pq import DiagnosticField

from chatledger.adapters import postgres_connections
from chatledger.adapters.persistence import postgres
from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.errors import is_gone, storage_errors
from chatledger.adapters.persistence.postgres_statements import COPY_FROM
from chatledger.adapters.persistence.statements import statements_of
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore, write_transaction
from chatledger.adapters.persistence.transaction import EventTypes, SqlTransaction
from chatledger.adapters.postgres_connections import BoundedConnection
from chatledger.application.ports.storage import SchemaError, StorageUnavailableError, StoreBusyError, Update
from chatledger.application.system_clock import new_id
from tests.persistence.stores import a_row
from tests.support.toxic import ToxicProxy

pytestmark = pytest.mark.postgres

DEADLINE = 20.0


@pytest.fixture
def url(postgres_server, migrated_database) -> Iterator[str]:
    url = postgres_server.fresh_database(migrated_database)
    yield url
    postgres_server.drop_database(url)


def terminate(url: str) -> int:
    """End every other connection to the database, as a restart does; how many there were."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'chatledger'"
        ).fetchall()
    return len(ended)


def append(engine: sa.Engine, count: int = 1) -> list[int]:
    with write_transaction(engine, EventTypes()) as transaction:
        first = transaction.head().position + 1
        rows = [a_row(position, new_id(), 1) for position in range(first, first + count)]
        transaction.append(rows)
    return [row.position for row in rows]


def test_a_limit_of_files_that_are_spilled_to_is_no_lack_of_room(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET temp_file_limit = '1MB'")
    with database_at(url, "relaxed").alone() as engine, closing(Reader(engine)) as reader:
        SqlLedgerStore(engine, reader).require_writable(with_room=True)


# Who may write


@pytest.mark.parametrize("severity", ["ERROR", "FATAL", "PANIC"])
def test_the_last_words_of_a_database_are_trouble_whatever_their_state(severity):
    """A full disk of the log makes it panic with the state of a bug."""
    told = {DiagnosticField.SQLSTATE: b"XX000", DiagnosticField.SEVERITY_NONLOCALIZED: severity.encode()}
    error = psycopg.errors.InternalError_("could not write to log file", info=told)
    expected = psycopg.errors.InternalError_ if severity == "ERROR" else StorageUnavailableError
    with pytest.raises(expected), storage_errors():
        raise error
    assert is_gone(error) is (severity != "ERROR")


def test_a_ledger_has_one_server(url):
    database = database_at(url, "relaxed")
    with database.alone() as engine:
        append(engine)
        with pytest.raises(StoreBusyError, match=r"127\.0\.0\.1:\d+/test_\d+ is in use by another server"):
            database.alone().__enter__()
        with pytest.raises(StoreBusyError):
            database.require_free()
        with database.shared() as beside:
            assert append(beside) == [2]
        assert append(engine) == [3]
    database.require_free()
    with database.alone():
        pass


@pytest.fixture
def impatient(monkeypatch):
    """Whoever wants the ledger in a way that does not go waits for a moment only."""
    for holding, function in (("alone", "pg_advisory_lock"), ("as a node", "pg_advisory_lock_shared")):
        monkeypatch.setitem(postgres._TAKE_THE_SERVERS_LOCK, holding, postgres._take_the_lock(function, 0.1))


@pytest.mark.usefixtures("impatient")
def test_a_ledger_has_any_number_of_nodes_and_nobody_alone_beside_them(url):
    database, other = database_at(url, "relaxed"), database_at(url, "relaxed")
    with database.as_node() as engine, other.as_node() as beside:
        assert append(engine) + append(beside) + append(engine) == [1, 2, 3]
        database.require_free(as_node=True)
        for ask in (database.require_free, database.alone().__enter__):
            with pytest.raises(StoreBusyError, match="in use by running nodes, and this needs it alone"):
                ask()
    with database.alone(), pytest.raises(StoreBusyError, match="by a server or a command that has it alone"):
        other.require_free(as_node=True)


@pytest.mark.usefixtures("impatient")
def test_a_node_that_lost_its_part_to_who_is_alone_does_not_write(url):
    database = database_at(url, "relaxed")
    with database.as_node() as node:
        append(node)
        terminate(url)
        with database.alone() as alone:
            with pytest.raises(StorageUnavailableError, match="has it alone"):
                append(node)
            assert append(alone) == [2]
        assert append(node) == [3]


def lock(connection: sa.Connection) -> None:
    SqlTransaction(connection).lock()


def change(connection: sa.Connection) -> None:
    transaction = SqlTransaction(connection)
    transaction.lock()
    transaction.apply([Update("messages", {"message_id": new_id()}, {"state": "stopping"}) for _ in range(3)])


@pytest.mark.parametrize(
    ("kind", "work"), [("a node", lock), ("a node", change), ("its leases", lock)], ids=["lock", "change", "leases"]
)
def test_a_node_that_stands_still_in_the_middle_of_a_transaction_lets_go(url, monkeypatch, kind, work):
    database = database_at(url, "relaxed")
    with ExitStack() as stack:
        beside = stack.enter_context(database.as_node())
        monkeypatch.setattr(postgres_connections, "SECONDS_TO_STAND_STILL", 1.0)
        still = stack.enter_context(database.as_node()) if kind == "a node" else database.beside("leases")
        stack.callback(still.dispose)
        connection = stack.enter_context(still.connect())
        work(connection)
        assert append(beside) == [1]
        with pytest.raises(sa.exc.DBAPIError):
            connection.exec_driver_sql("SELECT 1")


def test_a_server_that_was_killed_lets_go(url):
    program = """
import sys
from chatledger.adapters.persistence.database import database_at
with database_at(sys.argv[1], "relaxed").alone():
    print("alone", flush=True)
    sys.stdin.readline()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"alone\n"
        process.kill()
    with database_at(url, "relaxed").alone():
        pass


def test_whoever_lost_the_servers_lock_to_another_does_not_write(url):
    database = database_at(url, "relaxed")
    with database.alone() as engine:
        append(engine)
        terminate(url)
        with database.alone() as other:
            with pytest.raises(StorageUnavailableError, match="another server"):
                append(engine)
            assert append(other) == [2]
        assert append(engine) == [3]


def test_writers_beside_each_other_wait_in_line(url):
    def write(engine: sa.Engine, done: list[int]) -> None:
        for count in (1, 2, COPY_FROM, 1) * 5:
            done += append(engine, count)

    done: list[list[int]] = [[] for _ in range(8)]
    with ExitStack() as stack:
        engines = [stack.enter_context(database_at(url, "relaxed").shared()) for _ in range(2)]
        threads = [threading.Thread(target=write, args=(engines[n % 2], done[n])) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(position for positions in done for position in positions) == list(range(1, 8 * 5 * 68 + 1))


@pytest.mark.parametrize("setting", ["off", "local", "remote_write"])
def test_a_commit_is_durable_whatever_the_role_says(url, setting):
    name = url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = {setting}")
    with (
        database_at(url, "relaxed").alone() as engine,
        write_transaction(engine, EventTypes()) as transaction,
    ):
        assert transaction.connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_writers_see_what_is_committed_under_the_lock_whatever_the_database_says(url, level):
    name = url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    with database_at(url, "relaxed").shared() as engine:
        done: list[list[int]] = [[] for _ in range(4)]
        threads = [
            threading.Thread(target=lambda mine: mine.extend(append(engine)[0] for _ in range(25)), args=(mine,))
            for mine in done
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(position for mine in done for position in mine) == list(range(1, 101))


def test_a_server_that_a_power_cut_robs_is_refused(url):
    with pytest.raises(SchemaError, match="fsync"):
        database_at(url, "full").alone().__enter__()


# Lost connections


async def test_connections_that_were_lost_while_they_lay_idle_cost_nobody_anything(url):
    database = database_at(url, "relaxed")
    with database.alone() as engine, closing(Reader(database.reading(3), threads=3)) as reader:
        store = SqlLedgerStore(engine, reader)
        for round_ in range(3):
            append(engine)
            heads = await asyncio.gather(*(store.head() for _ in range(20)))
            assert {head.position for head in heads} == {round_ + 1}
            assert terminate(url) >= 2


def test_a_connection_that_is_lost_in_the_middle_writes_nothing(url):
    with database_at(url, "relaxed").alone() as engine:

        def write() -> None:
            with write_transaction(engine, EventTypes()) as transaction:
                transaction.append([a_row(1, new_id(), 1)])
                terminate(url)
                transaction.append([a_row(2, new_id(), 1)])

        with pytest.raises(StorageUnavailableError):
            write()
        assert append(engine) == [1]


def test_a_connection_that_is_lost_before_it_is_given_back_is_no_error(url, caplog):
    reading = database_at(url, "relaxed").reading(1)
    for _ in range(2):
        with reading.connect() as connection:
            assert statements_of(connection).execute("SELECT 1") == [(1,)]
            assert terminate(url) == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    reading.dispose()


async def test_nobody_waits_for_ever_for_a_database_that_does_not_answer(postgres_server, url, monkeypatch):
    async with ToxicProxy(postgres_server.port) as proxy:
        through_proxy = urlsplit(url)._replace(netloc=f"postgres@127.0.0.1:{proxy.port}").geturl()
        database = database_at(through_proxy, "relaxed")
        with ExitStack() as stack:
            engine = await asyncio.to_thread(stack.enter_context, database.alone())
            reader = stack.enter_context(closing(Reader(database.reading(1, patience=0.5), threads=1)))
            store = SqlLedgerStore(engine, reader)
            await asyncio.to_thread(append, engine)
            await store.head()
            monkeypatch.setattr(BoundedConnection, "patience", 0.5)
            monkeypatch.setitem(postgres_connections._CONNECTION, "connect_timeout", 2)
            proxy.stall()
            async with asyncio.timeout(DEADLINE):
                with pytest.raises(StorageUnavailableError, match=r"no answer|timeout"):
                    await store.head()
                with pytest.raises(StorageUnavailableError, match=r"no answer|timeout"):
                    await asyncio.to_thread(append, engine)
            proxy.cut()
            proxy.flow()
            async with asyncio.timeout(DEADLINE):
                assert await asyncio.to_thread(append, engine) == [2]
                assert (await store.head()).position == 2


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ann:geheim@db.example:5433/chat?sslmode=require", "postgresql://db.example:5433/chat"),
        ("postgresql://ann:#geheim@db.example/chat", "postgresql://db.example/chat"),
        ("postgresql://ann:?geheim@db.example/chat", "postgresql://db.example/chat"),
        ("postgresql://ann:geheim@one:1,two:2/chat", "postgresql://one:1,two:2/chat"),
        ("postgresql:///chat?host=/run/pg&password=geheim", "postgresql:///run/pg/chat"),
    ],
)
def test_a_place_is_told_without_its_password(url, place):
    assert database_at(url).place == place


@pytest.mark.parametrize("url", ["postgresql://ann:geheim@[::1/chat", "postgresql://ann:geheim%zz@localhost/chat"])
def test_what_is_no_address_is_not_quoted(url):
    with pytest.raises(ValueError, match=r"\Athis is no address of a PostgreSQL database\Z"):
        database_at(url)


@pytest.mark.parametrize("fault", ["no server", "no database"])
def test_where_there_is_nothing_the_refusal_tells_no_password(postgres_server, fault):
    address = {
        "no server": "postgresql://postgres:hunter2@127.0.0.1:1/chat",
        "no database": f"postgresql://postgres:hunter2@127.0.0.1:{postgres_server.port}/nowhere",
    }[fault]
    database = database_at(address, "relaxed")
    with pytest.raises(StorageUnavailableError) as refusal:
        database.alone().__enter__()
    assert "hunter2" not in str(refusal.value) + database.place
    assert "127.0.0.1" in str(refusal.value)


def test_a_connection_that_cannot_be_set_up_is_not_left_open(url, monkeypatch):
    monkeypatch.setitem(postgres_connections.SESSION, "chatledger_has_no_such_setting", "1")
    with pytest.raises(sa.exc.ProgrammingError, match="no_such_setting") as refusal:
        database_at(url, "relaxed").alone().__enter__()
    # The refusal holds on to the frames that it came through: what they left open would be open still.
    assert refusal.value.__traceback__ is not None
    assert terminate(url) == 0


# What goes in by one call and what by COPY


@pytest.mark.parametrize("count", [1, 2, COPY_FROM - 1, COPY_FROM, 3 * COPY_FROM])
async def test_many_and_few_rows_come_to_the_same(url, count):
    database = database_at(url, "relaxed")
    key_id, streams = new_id(), [new_id() for _ in range(3)]
    rows = [
        a_row(
            number + 1,
            streams[number % 3],
            number // 3 + 1,
            sealed=b"\0\xff" * number if number % 2 else None,
            key_id=key_id,
            context=b"{}" if number % 5 == 0 else None,
            context_position=number + 1 - number % 5,
            schema=1 + number % 2,
        )
        for number in range(count)
    ]
    with database.alone() as engine, closing(Reader(database.reading(1), threads=1)) as reader:
        store = SqlLedgerStore(engine, reader)
        with store.write() as transaction:
            transaction.append(rows)
        assert await store.log(list, after=0, limit=1_000) == rows


# News


def test_a_commit_is_told_to_other_processes_also_after_the_connection_was_lost(url):
    database, told = database_at(url, "relaxed"), threading.Event()
    with database.alone() as engine, database.news(told.set):
        assert told.wait(DEADLINE), "not even that it listens"
        for _ in range(2):
            told.clear()
            append(engine)
            assert told.wait(DEADLINE)
            told.clear()
            terminate(url)
            assert told.wait(DEADLINE), "whatever was committed meanwhile is not looked for"


def test_the_listener_ends_with_its_block(url):
    before = threading.active_count()
    with database_at(url, "relaxed").news(lambda: None):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
