"""Read models are made anew beside the live ones, while commits and reads go on."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence import read_models as sql_read_models
from chatledger.adapters.persistence.read_models import SqlSuccessors, leftovers, remove_leftovers
from chatledger.adapters.persistence.statements import statements_of
from chatledger.application.commands.rebuilding import Rebuilding
from chatledger.application.errors import ClosedError, RebuildRunningError
from chatledger.application.ledger.projections import READ_MODELS
from chatledger.application.ledger.rebuild import Replay
from chatledger.application.ports.read_models import ReadersInTheWayError
from chatledger.application.ports.storage import Transaction
from tests.persistence.stores import Store, open_rebuilding, running_writer
from tests.persistence.test_rebuild import Traffic, keep_busy, read_models, rebuild, table_names
from tests.support.databases import ON_POSTGRES

SHAPES = {
    "sqlite": ["SELECT tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL"],
    "postgresql": [
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname LIKE current_schema() || '_read_%'",
        "SELECT table_name, concat_ws(' ', column_name, data_type, is_nullable) FROM information_schema.columns",
    ],
}
A_NAME_OF_AN_INDEX = r"INDEX \S+ ON"


def shape(store: Store) -> list[tuple[str, str]]:
    """The columns and indexes of the read models. An index has one name or the other."""
    rows = [row for query in SHAPES[store.reading.dialect.name] for row in store.query(query)]
    return sorted(
        (table, re.sub(A_NAME_OF_AN_INDEX, "INDEX ON", definition.replace('"', "")))
        for table, definition in rows
        if table in READ_MODELS
    )


@asynccontextmanager
async def beside_traffic(store: Store, seed: int) -> AsyncIterator[tuple[Traffic, Rebuilding]]:
    """Traffic that has taken some steps, and what makes the read models anew beside its writer."""
    async with (
        running_writer(store, asyncio.get_running_loop()) as writer,
        open_rebuilding(store, writer.run_alone) as rebuilding,
    ):
        traffic = Traffic(seed, store, writer)
        await traffic.run(40)
        yield traffic, rebuilding


@contextmanager
def reading(store: Store) -> Iterator[sa.Connection]:
    """A snapshot of its own, of now."""
    engine = store.database.reading(1)
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT position FROM head").one()
        yield connection
    engine.dispose()


def rows_of(connection: sa.Connection) -> dict[str, int]:
    return {name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one() for name in READ_MODELS}


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it is of has no event
            await asyncio.sleep(0.005)


async def test_commits_and_reads_go_on_and_no_row_is_lost_or_doubled(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    is_over = asyncio.Event()

    async def look() -> None:
        query = "SELECT (SELECT position FROM head), count(*), count(DISTINCT position) FROM messages"
        is_last = False
        while not is_last:
            is_last = is_over.is_set()
            position, rows, distinct = await store.ledger._reader.query(lambda c: tuple(c.exec_driver_sql(query).one()))
            assert rows == distinct
            seen.append((position, rows))

    tables = table_names(store)
    async with beside_traffic(store, 1) as (traffic, rebuilding):
        watching = asyncio.create_task(look())
        rebuild_of_all = rebuilding.start()
        while not rebuild_of_all.done():
            await traffic.run(5)
        report = await rebuild_of_all
        is_over.set()
        await watching
        created = len(traffic.messages)
    assert report.differences == 0
    assert report.events < store.positions()[-1], "commits went on"
    assert seen == sorted(seen), "a message that was there is not lost"
    assert seen[-1][1] >= created

    live = read_models(store)
    assert (await rebuild(store)).differences == 0
    assert read_models(store) == live
    assert table_names(store) == tables


async def test_the_tables_keep_their_shape_however_often_they_are_made(store: Store) -> None:
    before = shape(store)
    assert {table for table, _ in before} == set(READ_MODELS)
    for _ in range(2):
        await rebuild(store)
        assert shape(store) == before


async def test_a_rebuild_that_is_broken_off_leaves_the_read_models_as_they_were(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with beside_traffic(store, 3) as (traffic, rebuilding):
        tables, reached, note = table_names(store), asyncio.Queue[str](), rebuilding._note

        def noted(**changed: object) -> None:
            note(**changed)
            reached.put_nowait(rebuilding.status.state)

        monkeypatch.setattr(rebuilding, "_note", noted)
        for state in ("replaying", "comparing", "switching", "clearing"):
            live, task = read_models(store), rebuilding.start()
            while await reached.get() != state:
                pass
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert rebuilding.status.error == "broken off"
            assert read_models(store) == live
            await traffic.run(5)
        assert (await rebuilding.rebuild()).differences == 0
        assert table_names(store) == tables


async def test_what_is_committed_while_the_switch_is_broken_off_is_not_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the writer's queue before the switch, which is given up before either has its turn."""
    async with beside_traffic(store, 3) as (traffic, _):
        in_the_queue, go_on = asyncio.Event(), threading.Event()
        commits: list[asyncio.Future] = []

        async def run(work: Callable[[], Any]) -> Any:
            if getattr(work, "__name__", "") == "_take_the_names":
                commits.append(asyncio.ensure_future(traffic.writer.run_alone(lambda: go_on.wait(20))))
                await asyncio.sleep(0)
                commits.extend(traffic.hand_in(*traffic.ask()) for _ in range(3))
                in_the_queue.set()
            return await traffic.writer.run_alone(work)

        async with open_rebuilding(store, run) as rebuilding:
            successors, begin = list[SqlSuccessors](), rebuilding._read_models.successors

            @asynccontextmanager
            async def noted() -> AsyncIterator[SqlSuccessors]:
                async with begin() as begun:
                    successors.append(begun)
                    yield begun

            monkeypatch.setattr(rebuilding._read_models, "successors", noted)
            task = rebuilding.start()
            await in_the_queue.wait()
            task.cancel()
            await becomes(lambda: successors[0].are_given_up)
            go_on.set()
            await asyncio.wait([task])
            await asyncio.gather(*commits)
            assert len(read_models(store)["messages"]) == len(traffic.messages)
            assert (await rebuild(store)).differences == 0


async def test_two_at_once_are_one_too_many_and_none_begins_after_the_end(store: Store) -> None:
    async with open_rebuilding(store) as rebuilding:
        first = rebuilding.start()
        with pytest.raises(RebuildRunningError):
            rebuilding.start()
        await first
        assert rebuilding.status.state == "completed"
        waiting = asyncio.create_task(rebuilding.rebuild())
        await becomes(lambda: rebuilding.status.state == "replaying")
        await rebuilding.close()
        with pytest.raises(ClosedError):
            await waiting
        with pytest.raises(ClosedError):
            await rebuilding.rebuild()


async def test_what_a_killed_rebuild_left_behind_is_removed(store: Store) -> None:
    await keep_busy(store, 5, 60)
    live, tables = read_models(store), table_names(store)

    with store.reading.connect() as connection:
        schema = statements_of(connection).read_schema() or "main"

    def leave_behind() -> None:
        store.execute(f"CREATE TABLE {schema}.messages_next AS SELECT * FROM messages")
        store.execute(f"CREATE TABLE {schema}.conversations_old (id INTEGER)")
        store.execute("UPDATE read_model_versions SET has_successors = (1 = 1)")

    leave_behind()
    remove_leftovers(store.writing)
    assert table_names(store) == tables
    leave_behind()
    assert (await rebuild(store)).differences == 0
    assert table_names(store) == tables
    assert read_models(store) == live


@ON_POSTGRES
async def test_a_snapshot_of_before_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would find the new tables under the old names, without the rows that came since."""
    waits, pauses = asyncio.Event(), sql_read_models._pauses

    def noted() -> Iterator[float]:
        for pause in pauses():
            waits.set()
            yield pause

    monkeypatch.setattr(sql_read_models, "_pauses", noted)
    async with beside_traffic(store, 6) as (traffic, rebuilding):
        expected = {name: len(rows) for name, rows in read_models(store).items()}
        with reading(store) as early:
            task, waiting = rebuilding.start(), asyncio.create_task(waits.wait())
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            assert not task.done()
            with reading(store) as late:
                await traffic.run(20)
                assert rebuilding.status.state == "switching"
                assert rows_of(early) == expected
                early.rollback()
                await task
                assert rows_of(late) == expected, "it began when both were the same"
        assert task.result().differences == 0


@ON_POSTGRES
async def test_who_reads_on_and_on_is_not_pushed_aside(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_read_models, "SECONDS_FOR_READERS", 0.5)
    async with beside_traffic(store, 6) as (traffic, rebuilding):
        live, tables = read_models(store), table_names(store)
        task = rebuilding.start()
        await becomes(lambda: rebuilding.status.state == "comparing")
        with reading(store) as late:
            expected = rows_of(late)
            with pytest.raises(ReadersInTheWayError):
                await task
            assert rows_of(late) == expected
        assert read_models(store) == live
        assert table_names(store) == tables
        await traffic.run(20)
        assert (await rebuilding.rebuild()).differences == 0


async def test_a_commit_changes_both_once_they_are_alike(store: Store) -> None:
    async with beside_traffic(store, 8) as (traffic, rebuilding):
        async with rebuilding._read_models.successors() as successors:
            await successors.join(lambda locked: rebuilding_changes(store, locked))
            await traffic.run(60)
            comparison = await successors.compare()
            assert (comparison.position, comparison.differences) == (store.positions()[-1], 0)
        await traffic.run(20)
        assert not leftovers_of(store)


def rebuilding_changes(store: Store, locked: Transaction) -> list:
    replay = Replay(store.codec, store.projections)
    return [change for page in replay.pages(locked) for change in page]


def leftovers_of(store: Store) -> list[str]:
    with store.reading.connect() as connection:
        return list(leftovers(connection))
