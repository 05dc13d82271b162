"""Read models side by side: a digest of each, and the rows that differ."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from chatledger.adapters.persistence.statements import statements_of
from chatledger.adapters.persistence.tables import METADATA, CompactUuid
from chatledger.adapters.persistence.transaction import SqlTransaction
from chatledger.application.ledger.projections import READ_MODELS
from chatledger.application.ports.read_models import ComparedTable, Comparison

ROWS_PER_PAGE = 500

MOST_NAMED = 5
"""Rows that differ and are named by their keys, of each table."""

ID_BYTES = 16

Row = Sequence[Any]

_lines = msgspec.json.Encoder().encode_lines


def compare(
    live: sa.Connection, replayed: sa.Connection, replay_of: Callable[[str], str] = lambda name: name
) -> Comparison:
    """All read models of a snapshot beside their replay at the same position, which may lie in the same database.

    The position is the one to which they are moved; where they are of another version, the head.

    Args:
        live: where the live ones are, with the ledger.
        replayed: where their replay is.
        replay_of: the name of a read model's replay.
    """
    ledger = SqlTransaction(live)
    moved_to = ledger.moved_to()
    position = ledger.position() if moved_to is None else moved_to
    compared = [
        _compared(name, live, replayed, replay_of(name), is_comparable=moved_to is not None) for name in READ_MODELS
    ]
    return Comparison(position, sum(found.differences or 0 for found in compared), compared)


def _compared(
    name: str, live: sa.Connection, replayed: sa.Connection, replay: str, *, is_comparable: bool
) -> ComparedTable:
    theirs = _Rows(name, replayed, replay)
    if not is_comparable:
        live_rows = live.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()  # noqa: S608 - a name of our own
        for _ in theirs:
            pass
        return ComparedTable(name, theirs.count, theirs.digest, live_rows, None, None, ())
    ours = _Rows(name, live, name)
    differences = 0
    different: list[str] = []
    for key in differing(iter(ours), iter(theirs), ours.keys):
        differences += 1
        if len(different) < MOST_NAMED:
            different.append(_text(key))
    return ComparedTable(name, theirs.count, theirs.digest, ours.count, ours.digest, differences, different)


class _Rows:
    """The rows of a read model in the order of their keys, counted and digested as they are read.

    They are given as SQLite has them, ids as bytes and flags as numbers.
    """

    def __init__(self, name: str, connection: sa.Connection, stored_as: str) -> None:
        schema = METADATA.tables[name]
        key = list(schema.primary_key.columns)
        columns = [*key, *(column for column in schema.columns if not column.primary_key)]
        dialect = connection.dialect.name
        selected = ", ".join(_as_sqlite_has_it(column, dialect) for column in columns)
        order = ", ".join(_in_order(column, dialect) for column in key)
        self.keys = len(key)
        self.count = 0
        self._digest = hashlib.sha256()
        self._statements = statements_of(connection)
        self._query = f"SELECT {selected} FROM {stored_as} ORDER BY {order}"  # noqa: S608 - names of our own

    @property
    def digest(self) -> str:
        """Of what was read so far."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Row]:
        for page in self._statements.pages(self._query, ROWS_PER_PAGE):
            self.count += len(page)
            self._digest.update(_lines(page))
            yield from page


def _in_order(column: sa.Column[Any], dialect: str) -> str:
    """In the order of bytes, as SQLite has it."""
    is_text = isinstance(column.type, sa.Text)
    return f'{column.name} COLLATE "C"' if is_text and dialect != "sqlite" else column.name


def _as_sqlite_has_it(column: sa.Column[Any], dialect: str) -> str:
    if dialect == "sqlite":
        return column.name
    if isinstance(column.type, CompactUuid):
        return f"uuid_send({column.name})"
    return f"{column.name}::int" if isinstance(column.type, sa.Boolean) else column.name


_ORDER_OF_TYPES = {type(None): 0, int: 1, float: 1, str: 2, bytes: 3}


def place_in_order(row: Row, keys: int) -> Any:
    """SQLite's own order, in which a key of the wrong type, too, has a place."""
    return [(_ORDER_OF_TYPES[type(value)], value) for value in row[:keys]]


def differing(live: Iterator[Row], replayed: Iterator[Row], keys: int) -> Iterator[Row]:
    """The keys, which are the first columns, of rows that not both have alike; both come in the order of their keys."""
    ours, theirs = next(live, None), next(replayed, None)
    while ours is not None or theirs is not None:
        if ours == theirs:
            ours, theirs = next(live, None), next(replayed, None)
            continue
        our_place = None if ours is None else place_in_order(ours, keys)
        their_place = None if theirs is None else place_in_order(theirs, keys)
        if ours is not None and (their_place is None or our_place <= their_place):
            yield ours[:keys]
            if our_place == their_place:
                theirs = next(replayed, None)
            ours = next(live, None)
        elif theirs is not None:
            yield theirs[:keys]
            theirs = next(replayed, None)


def _text(key: Row) -> str:
    return " ".join(map(_value_text, key))


def _value_text(value: Any) -> str:
    if isinstance(value, bytes):
        return str(UUID(bytes=value)) if len(value) == ID_BYTES else value.hex()
    return str(value)
