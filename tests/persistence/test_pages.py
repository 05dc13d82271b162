"""Rows of a statement page by page, while the database is ahead of whoever looks at them."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.statements import Statements, statements_of
from tests.persistence.stores import Store

SIZE = 1_000


@pytest.fixture
def connection(store: Store) -> Iterator[sa.Connection]:
    with store.reading.connect() as connection, connection.begin():
        yield connection


@pytest.fixture
def statements(connection: sa.Connection) -> Statements:
    return statements_of(connection)


def numbers(last: int, *columns: str) -> str:
    """A statement whose rows are made as they are asked for."""
    counting = f"SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}"
    return f"WITH RECURSIVE numbers(n) AS ({counting}) SELECT {', '.join(('n', *columns))} FROM numbers"


def fails_at(number: int, connection: sa.Connection) -> str:
    """A column that has no value in this row."""
    if connection.dialect.name == "sqlite":
        return f"CASE n WHEN {number} THEN abs(-9223372036854775807 - 1) END"
    return f"1 / (n - {number})"


def test_all_rows_come_in_their_order_and_others_may_be_read_in_between(store: Store, statements: Statements) -> None:
    found = []
    for page in statements.pages_ahead(numbers(2 * SIZE + 1), SIZE):
        assert statements.execute("SELECT count(*) FROM streams") == [(0,)]
        found.append([n for (n,) in page])
    assert found == [list(range(1, SIZE + 1)), list(range(SIZE + 1, 2 * SIZE + 1)), [2 * SIZE + 1]]
    assert list(statements.pages_ahead("SELECT number FROM streams", SIZE)) == []
    assert store.reading.pool.checkedout() == 1


def test_they_are_of_the_transactions_own_snapshot(store: Store, statements: Statements) -> None:
    statements.execute("SELECT count(*) FROM event_types")
    store.execute("INSERT INTO event_types VALUES (1, 'AnswerChunkAppended', 1)")
    assert list(statements.pages_ahead("SELECT name FROM event_types", SIZE)) == []


def test_an_error_comes_where_it_is(store: Store, connection: sa.Connection, statements: Statements) -> None:
    pages = statements.pages_ahead(numbers(3 * SIZE, fails_at(SIZE + 500, connection)), SIZE)
    assert len(next(pages)) == SIZE
    with pytest.raises(Exception, match=r"division by zero|integer overflow"):
        next(pages)
    assert statements.execute("SELECT 1") == [(1,)]
    assert store.reading.pool.checkedout() == 1


def test_not_much_is_read_ahead_and_whoever_breaks_off_leaves_nothing_open(
    store: Store, connection: sa.Connection, statements: Statements
) -> None:
    """Were all of it read, the first page would meet with the error at its end, after 200 MB."""
    text = f"replace('{'x' * 100}', 'x', '{'y' * 100}')"
    far = 20 * SIZE
    with closing(statements.pages_ahead(numbers(far, text, fails_at(far, connection)), SIZE)) as pages:
        assert [len(row[1]) for row in next(pages)] == [10_000] * SIZE
    assert statements.execute("SELECT 1") == [(1,)]
    assert store.reading.pool.checkedout() == 1


def test_neither_connection_is_ended_for_taking_long(store: Store, statements: Statements) -> None:
    if store.reading.dialect.name == "sqlite":
        pytest.skip("a file waits for nobody")
    statements.execute("SELECT set_config('idle_in_transaction_session_timeout', '50ms', true)")
    slow = "SELECT current_setting('statement_timeout') FROM pg_sleep(0.2)"
    assert list(statements.pages_ahead(slow, SIZE)) == [[("0",)]]
    assert statements.execute("SELECT 1") == [(1,)]
