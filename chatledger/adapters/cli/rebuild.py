"""``chatledger rebuild`` and ``migrate``: read models anew, read models compared, the schema brought up to date."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from chatledger.adapters.cli.console import REFUSED, SUCCESS, ProgressLine, Result, table
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.orders import Rebuild, Rebuilt
from chatledger.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from chatledger.application.ledger.rebuild import Progress
    from chatledger.bootstrap import Reading

ROWS_PER_FETCH = 500

Row = Sequence[Any]


class ComparedTable(msgspec.Struct, frozen=True):
    """One read model beside its replay.

    Attributes:
        rows: how many the live one has.
        differences: rows that differ, that are missing, or that should not be there.
    """

    table: str
    rows: int
    differences: int


class Comparison(msgspec.Struct, frozen=True):
    """All read models, each beside its replay, as they stood at one position."""

    position: int
    differences: int
    tables: list[ComparedTable]


def migrate(settings: Settings) -> Result:
    """Bring the schema up to date."""
    from chatledger.adapters.persistence.database import database_at  # noqa: PLC0415
    from chatledger.bootstrap import migrate as bring_up_to_date  # noqa: PLC0415

    before, now = bring_up_to_date(settings)
    place = database_at(settings.ledger_url).place
    data = {"before": before, "revision": now}
    if before == now:
        return Result(data, f"{place} is at revision {now} already.")
    came_from = "empty" if before is None else f"at revision {before}"
    return Result(data, f"{place} was {came_from} and is at revision {now} now.")


def rebuild(settings: Settings) -> Result:
    """Make the read models anew, in one transaction."""
    progress = ProgressLine("rebuild")
    rebuilt = deliver(settings, Rebuild(), Rebuilt, progress=progress, alone=lambda: _rebuild_alone(settings, progress))
    return Result(rebuilt, f"The read models are made anew from {rebuilt.events:,} events.")


def _rebuild_alone(settings: Settings, progress: "Progress") -> Rebuilt:
    return asyncio.run(_repair(settings, progress))


async def _repair(settings: Settings, progress: "Progress") -> Rebuilt:
    from chatledger.application.commands.rebuilding import Rebuilding  # noqa: PLC0415
    from chatledger.bootstrap import open_for_repair  # noqa: PLC0415

    async with open_for_repair(settings) as repairing:
        rebuilding = Rebuilding(repairing.codec, repairing.projections)
        return Rebuilt(await asyncio.to_thread(rebuilding.rebuild, repairing.store, progress))


def check(settings: Settings) -> Result:
    """Replay the ledger beside the live read models and compare them row by row."""
    comparison = asyncio.run(_check(settings, ProgressLine("replay")))
    rows = [(compared.table, f"{compared.rows:,}", compared.differences) for compared in comparison.tables]
    verdict = f"At position {comparison.position:,} the read models "
    verdict += f"differ in {comparison.differences:,} rows." if comparison.differences else "are what the ledger says."
    text = f"{table(('table', 'rows', 'differences'), rows)}\n\n{verdict}"
    return Result(comparison, text, REFUSED if comparison.differences else SUCCESS)


async def _check(settings: Settings, progress: "Progress") -> Comparison:
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        return await reading.reader.query(lambda connection: _compare(connection, reading, progress))


def _compare(live: "sa.Connection", reading: "Reading", progress: "Progress") -> Comparison:
    """All of it in the snapshot of one read transaction: a server may go on writing."""
    from chatledger.adapters.persistence.transaction import SqlTransaction  # noqa: PLC0415
    from chatledger.application.commands.rebuilding import Rebuilding  # noqa: PLC0415
    from chatledger.application.ledger.projections import READ_MODELS  # noqa: PLC0415

    with _scratch() as scratch:
        rebuilding = Rebuilding(reading.codec, reading.projections)
        position = rebuilding.replay_beside(SqlTransaction(live), SqlTransaction(scratch), progress)
        compared = [_compare_table(name, live, scratch) for name in READ_MODELS]
    return Comparison(position, sum(found.differences for found in compared), compared)


@contextmanager
def _scratch() -> "Iterator[sa.Connection]":
    """The read models' tables, empty, in a database without a name: SQLite removes it when it is closed."""
    import sqlalchemy as sa  # noqa: PLC0415

    from chatledger.adapters.persistence.tables import METADATA  # noqa: PLC0415
    from chatledger.application.ledger.projections import READ_MODELS  # noqa: PLC0415

    engine = sa.create_engine("sqlite:///", connect_args={"isolation_level": None}, creator=_unnamed_database)
    try:
        with engine.begin() as connection:
            METADATA.create_all(connection, [METADATA.tables[name] for name in READ_MODELS])
            yield connection
    finally:
        engine.dispose()


def _unnamed_database() -> Any:
    import sqlite3  # noqa: PLC0415

    return sqlite3.connect("", isolation_level=None)


def _compare_table(name: str, live: "sa.Connection", replayed: "sa.Connection") -> ComparedTable:
    from chatledger.adapters.persistence.tables import METADATA  # noqa: PLC0415

    schema = METADATA.tables[name]
    key = [column.name for column in schema.primary_key]
    columns = [*key, *(column.name for column in schema.columns if column.name not in key)]
    live_rows, replayed_rows = (_fetched(connection, name, columns, len(key)) for connection in (live, replayed))
    rows, differences = _merge(live_rows, replayed_rows, _place_in_order(len(key)))
    return ComparedTable(name, rows, differences)


def _fetched(connection: "sa.Connection", name: str, columns: Sequence[str], keys: int) -> Iterator[Row]:
    """The rows as SQLite has them, ids as bytes and flags as numbers, in the order of their bytes."""
    order = [str(number + 1) for number in range(keys)]
    if connection.dialect.name != "sqlite":
        order = [f'{column}::text COLLATE "C"' for column in columns[:keys]]
    query = f"SELECT {', '.join(columns)} FROM {name} ORDER BY {', '.join(order)}"  # noqa: S608 - names of our own
    result = connection.exec_driver_sql(query, execution_options={"stream_results": True})
    while page := result.fetchmany(ROWS_PER_FETCH):
        yield from (tuple(map(_as_sqlite_has_it, row)) for row in page)


def _as_sqlite_has_it(value: Any) -> Any:
    if isinstance(value, UUID):
        return value.bytes
    return int(value) if isinstance(value, bool) else value


_ORDER_OF_TYPES = {type(None): 0, int: 1, float: 1, str: 2, bytes: 3}


def _place_in_order(columns: int) -> Callable[[Row], Any]:
    """SQLite's own order, in which a key of the wrong type, too, has a place."""
    return lambda row: [(_ORDER_OF_TYPES[type(value)], value) for value in row[:columns]]


def _merge(live: Iterator[Row], replayed: Iterator[Row], place: Callable[[Row], Any]) -> tuple[int, int]:
    rows = differences = 0
    ours, theirs = next(live, None), next(replayed, None)
    while ours is not None or theirs is not None:
        step_live = theirs is None or (ours is not None and place(ours) <= place(theirs))
        step_replayed = ours is None or (theirs is not None and place(theirs) <= place(ours))
        differences += ours != theirs
        if step_live:
            rows += 1
            ours = next(live, None)
        if step_replayed:
            theirs = next(replayed, None)
    return rows, differences
