"""``chatledger rebuild`` and ``migrate``: read models anew, read models compared, the schema brought up to date."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chatledger.adapters.cli.console import REFUSED, SUCCESS, ProgressLine, Result, table
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.orders import Rebuild
from chatledger.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from chatledger.application.commands.rebuilding import RebuildReport
    from chatledger.application.ledger.rebuild import Progress
    from chatledger.application.ports.read_models import ComparedTable, Comparison
    from chatledger.bootstrap import Reading


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


def restored(settings: Settings) -> Result:
    """Begin another incarnation of the ledger."""
    from chatledger.bootstrap import begin_incarnation  # noqa: PLC0415

    incarnation = begin_incarnation(settings)
    text = f"From here on the ledger is another one, and its checkpoints have another name: {incarnation}"
    return Result({"incarnation": incarnation}, text)


def rebuild(settings: Settings) -> Result:
    """Make the read models anew, beside the live ones, which then give way to them."""
    from chatledger.application.commands.rebuilding import RebuildReport  # noqa: PLC0415

    progress = ProgressLine("rebuild")
    report = deliver(
        settings, Rebuild(), RebuildReport, progress=progress, alone=lambda: asyncio.run(_alone(settings, progress))
    )
    done = (
        f"The read models are made anew from {report.events:,} events in {report.seconds:.1f} s; "
        f"commits waited for {1000 * report.seconds_under_lock:.0f} ms of it."
    )
    found = "No row differed from before."
    if any(compared.differences is None for compared in report.tables):
        found = "The earlier ones were of another version."
    elif report.differences:
        found = f"{report.differences:,} rows were wrong before:\n\n{_overview(report.tables)}"
    return Result(report, f"{done}\n{found}")


async def _alone(settings: Settings, progress: "Progress") -> "RebuildReport":
    from chatledger.bootstrap import open_for_repair  # noqa: PLC0415

    async with open_for_repair(settings) as rebuilding:
        return await rebuilding.rebuild(progress)


def check(settings: Settings) -> Result:
    """Replay the ledger beside the live read models and compare them row by row."""
    comparison, head = asyncio.run(_check(settings, ProgressLine("replay")))
    verdict = f"At position {comparison.position:,} the read models "
    verdict += f"differ in {comparison.differences:,} rows." if comparison.differences else "are what the ledger says."
    if comparison.position < head:
        verdict += f"\nAnother release has committed {head - comparison.position:,} events that they do not show."
    text = f"{_overview(comparison.tables)}\n\n{verdict}"
    return Result(comparison, text, REFUSED if comparison.differences else SUCCESS)


def _overview(tables: "Sequence[ComparedTable]") -> str:
    rows = [
        (compared.table, f"{compared.live_rows:,}", compared.differences or 0, _named(compared)) for compared in tables
    ]
    return table(("table", "rows", "differences", "first of them"), rows)


def _named(compared: "ComparedTable") -> str:
    return ", ".join(compared.different)


async def _check(settings: Settings, progress: "Progress") -> "tuple[Comparison, int]":
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings, may_lag=True) as reading:
        return await reading.reader.query(lambda connection: _compare(connection, reading, progress))


def _compare(live: "sa.Connection", reading: "Reading", progress: "Progress") -> "tuple[Comparison, int]":
    """The comparison, and where the ledger ends.

    All of it in the snapshot of one read transaction: a server may go on writing, or change the read models.

    Raises:
        SchemaError: the live read models are of another version: there is nothing to compare.
    """
    from chatledger.adapters.persistence.comparing import compare  # noqa: PLC0415
    from chatledger.adapters.persistence.transaction import SqlTransaction  # noqa: PLC0415
    from chatledger.application.ledger.rebuild import Replay  # noqa: PLC0415

    source, replay = SqlTransaction(live), Replay(reading.codec, reading.projections)
    source.head()
    last = source.moved_to() or 0
    with _scratch() as scratch:
        target = SqlTransaction(scratch)
        for changes in replay.pages(source, last):
            target.apply(changes)
            progress(replay.position, last)
        return compare(live, scratch), source.position()


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
