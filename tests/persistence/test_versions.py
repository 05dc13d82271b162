"""Read models of several versions on one ledger, and several nodes that move them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.read_models import remove_leftovers
from chatledger.adapters.persistence.rebuild_turn import as_the_only_one
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore
from chatledger.adapters.persistence.transaction import EventTypes
from chatledger.adapters.persistence.versions import SqlVersions
from chatledger.application.erasure.destroying import Destroying
from chatledger.application.errors import RebuildRunningError
from chatledger.application.ledger import catching_up, side_by_side
from chatledger.application.ledger.catching_up import CatchingUp
from chatledger.application.ledger.hand_ins import HandIn, NotUniqueError
from chatledger.application.ledger.projections import READ_MODELS, READ_MODELS_VERSION
from chatledger.application.ledger.side_by_side import SideBySide
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.storage import Increase, StorageUnavailableError, Transaction, UniqueGuard
from chatledger.application.ports.versions import SeenVersions
from chatledger.application.system_clock import SystemClock
from tests.persistence.stores import Store, open_rebuilding, running_writer
from tests.persistence.test_live_rebuild import leftovers_of, rebuilding_changes
from tests.persistence.test_rebuild import Traffic, keep_busy, read_models, rebuild
from tests.support.databases import ON_POSTGRES, ON_SQLITE

OTHER = 99


@asynccontextmanager
async def another_node(store: Store) -> AsyncIterator[tuple[Store, GroupCommitWriter]]:
    """What writes to the same ledger, on connections of its own."""
    reader = Reader(store.database.reading(1), threads=1)
    with closing(reader), store.database.shared() as writing:
        beside = store._replace(writing=writing, ledger=SqlLedgerStore(writing, reader))
        async with running_writer(beside, asyncio.get_running_loop()) as writer:
            yield beside, writer


def fall_behind(store: Store) -> None:
    """As if a release with another version had appended everything, and this one's read models were new."""
    for table in READ_MODELS:
        store.execute(f"DELETE FROM {table}")
    store.execute("UPDATE read_model_versions SET position = 0")
    store.execute(f"INSERT INTO read_model_versions VALUES ({OTHER}, 0, (1 = 0))")
    store.execute(f"UPDATE head SET read_models = {OTHER}")


@ON_POSTGRES
async def test_while_one_node_rebuilds_the_others_move_both(store: Store) -> None:
    async with running_writer(store, asyncio.get_running_loop()) as writer, another_node(store) as (beside, other):
        there = Traffic(1, store, writer)
        await there.run(20)
        there.writer = other
        async with open_rebuilding(store, writer.run_alone) as rebuilding:
            async with rebuilding._read_models.successors() as successors:
                await successors.join(lambda locked: rebuilding_changes(store, locked))
                await there.run(40)
                comparison = await successors.compare()
                assert (comparison.position, comparison.differences) == (store.positions()[-1], 0)

                async with open_rebuilding(beside, other.run_alone) as second:
                    with pytest.raises(RebuildRunningError, match="on another node"):
                        await second.rebuild()
                remove_leftovers(beside.writing)  # as a node does that starts meanwhile
                assert len(leftovers_of(store)) == len(READ_MODELS)
                await there.run(10)
                assert (await successors.compare()).differences == 0
            await there.run(10)
            assert not leftovers_of(store)

            rebuild_of_all = rebuilding.start()
            while not rebuild_of_all.done():
                await there.run(5)
            report = await rebuild_of_all
            assert report.differences == 0
            assert report.events < store.positions()[-1], "commits went on"
        await there.run(10)
    assert (await rebuild(store)).differences == 0


@ON_POSTGRES
async def test_a_rebuild_may_follow_another_before_its_connection_is_gone(store: Store) -> None:
    with (
        closing(Reader(store.database.reading(1), threads=1)) as one,
        closing(Reader(store.database.reading(1))) as two,
    ):
        for _ in range(10):
            for first, second in ((one, two), (two, one)):
                async with as_the_only_one(first):
                    with pytest.raises(RebuildRunningError):
                        async with as_the_only_one(second):
                            pass


@ON_POSTGRES
async def test_a_rebuild_whose_connection_was_lost_leaves_that_of_another_node_alone(store: Store) -> None:
    await keep_busy(store, 1, 40)
    end = """
    SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
    AND (classid::bigint << 32) | objid::bigint = hashtextextended('chatledger rebuild of public', 0)
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    live = read_models(store)
    lost = partial(pytest.raises, StorageUnavailableError, match="the connection was lost")
    async with (
        open_rebuilding(store) as rebuilding,
        another_node(store) as (beside, other),
        open_rebuilding(beside, other.run_alone) as second,
    ):
        async with rebuilding._read_models.successors() as successors:
            changes = await successors.read(lambda ledger: rebuilding_changes(store, ledger))
            async with asyncio.timeout(20):
                while store.query(end):  # noqa: ASYNC110 - what it is of has no event
                    await asyncio.sleep(0.01)
            async with second._read_models.successors() as theirs:
                await theirs.apply(await theirs.read(lambda ledger: rebuilding_changes(store, ledger)))
                with lost():  # what adds to sums would add to them twice
                    await successors.apply([change for change in changes if isinstance(change, Increase)])
                await theirs.join(lambda _locked: ())
                with lost():
                    await rebuilding._read_models._remove_leftovers(successors._turn)
                assert (await theirs.compare()).differences == 0
            with lost():
                await successors.join(lambda _locked: ())
        assert (await second.rebuild()).differences == 0
    assert read_models(store) == live


async def test_what_another_release_has_appended_is_projected_before_anything_is_decided(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "PAGE", 50)
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        traffic = Traffic(3, store, writer)
        await traffic.run(40)
    live, last = read_models(store), store.positions()[-1]
    assert last > catching_up.PAGE
    ((key_hash,), *_) = store.query("SELECT key_hash FROM api_keys")
    fall_behind(store)
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        with pytest.raises(NotUniqueError):
            await writer.hand_in(HandIn(events=(), context=0, guards=[UniqueGuard("api_key", (key_hash,))]))
        assert read_models(store) == live
        traffic.writer = writer
        await traffic.run(5)
    assert store.query("SELECT read_models FROM head") == [(READ_MODELS_VERSION,)]
    assert store.query(f"SELECT position FROM read_model_versions WHERE version = {OTHER}") == [(last,)]
    assert (await rebuild(store)).differences == 0


@ON_POSTGRES
async def test_whoever_appends_more_each_time_keeps_nobody_of_another_release_from_committing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_busy(store, 3, 40)
    live = read_models(store)
    monkeypatch.setattr(catching_up, "PAGE", 10)
    fall_behind(store)
    rounds, approach = list[int](), CatchingUp.approach

    def outrun(catching: CatchingUp, *asked: Any) -> None:
        approach(catching, *asked)
        rounds.append(1)
        if len(rounds) < 9:  # what they append before the lock is had is more than a page
            for table in READ_MODELS:
                store.execute(f"DELETE FROM {table}")
            store.execute(f"UPDATE read_model_versions SET position = 0 WHERE version = {READ_MODELS_VERSION}")

    monkeypatch.setattr(CatchingUp, "approach", outrun)
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        await writer.catch_up()
    assert read_models(store) == live
    assert len(rounds) < 5


@ON_POSTGRES
async def test_whoever_reads_beside_another_release_sees_what_it_has_committed(store: Store) -> None:
    await keep_busy(store, 3, 30)
    messages = len(read_models(store)["messages"])
    fall_behind(store)

    def count(connection: sa.Connection) -> int:
        found: int = connection.exec_driver_sql("SELECT count(*) FROM messages").scalar_one()
        return found

    async with running_writer(store, asyncio.get_running_loop()) as writer:
        reader = store.ledger._reader
        reader.catch_up_first(lambda: True, writer.catch_up)
        assert await reader.query_as_it_is(count) == 0
        assert await reader.query(count) == messages


@ON_SQLITE
async def test_events_that_a_newer_release_wrote_change_nothing(store: Store) -> None:
    await keep_busy(store, 3, 150)
    assert store.query("SELECT 1 FROM messages WHERE suggestions IS NOT NULL")
    store.execute("UPDATE event_types SET name = 'NotYetInvented' WHERE name = 'SuggestedQuestionsProposed'")
    store.execute("UPDATE event_types SET schema = 1000 WHERE name = 'ConversationRenamed'")
    for reading in (store.ledger, store.ledger._reader):
        reading._types = EventTypes()  # no name changes, but behind everybody's back
    fall_behind(store)
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        await writer.catch_up()
    assert store.query("SELECT 1 FROM messages WHERE suggestions IS NULL")
    assert not store.query("SELECT 1 FROM messages WHERE suggestions IS NOT NULL")
    assert read_models(store)["renamings"] == []
    assert (await rebuild(store)).differences == 0


@ON_POSTGRES
async def test_a_version_is_dropped_once_no_node_has_it(store: Store) -> None:
    store.execute(f"CREATE SCHEMA public_read_{OTHER} CREATE TABLE messages (gone INTEGER)")
    store.execute(f"INSERT INTO read_model_versions VALUES ({OTHER}, 0, false)")
    versions = SqlVersions(store.ledger._reader, store.writing, asyncio.to_thread)
    with store.writing.connect() as connection:
        url = connection.connection.driver_connection.info.dsn
    with psycopg.connect(url, autocommit=True) as node:
        node.execute(f"SELECT pg_advisory_lock_shared(hashtext('chatledger nodes of public'), {OTHER})")
        assert await versions.look() == SeenVersions([OTHER], {OTHER}, is_here=True, lags_behind=False)
        assert not await versions.drop(OTHER)
        node.execute("SELECT pg_advisory_unlock_all()")  # the server takes a while to note that a connection is closed
    assert await versions.look() == SeenVersions([OTHER], set(), is_here=True, lags_behind=False)
    assert await versions.drop(OTHER)
    assert not await versions.drop(OTHER)
    assert await versions.look() == SeenVersions([], set(), is_here=True, lags_behind=False)
    assert store.query(f"SELECT FROM pg_namespace WHERE nspname = 'public_read_{OTHER}'") == []


@ON_POSTGRES
async def test_a_node_whose_tables_were_dropped_while_it_was_away_makes_them_anew(store: Store) -> None:
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        traffic = Traffic(3, store, writer)
        await traffic.run(20)
        live = read_models(store)
        versions = SqlVersions(store.ledger._reader, store.writing, asyncio.to_thread)
        store.execute("DELETE FROM read_model_versions")
        store.execute(f"DROP SCHEMA public_read_{READ_MODELS_VERSION} CASCADE")
        assert await versions.look() == SeenVersions([], set(), is_here=False, lags_behind=True)
        looking = SideBySide(versions, writer.catch_up, SystemClock())
        await looking.look()
        assert await versions.look() == SeenVersions([], set(), is_here=True, lags_behind=False)
        assert read_models(store) == live
        await traffic.run(5)
    assert (await rebuild(store)).differences == 0


async def test_what_keys_may_go_is_decided_where_all_that_others_have_committed_is_shown(store: Store) -> None:
    await keep_busy(store, 3, 30)
    ((person,), *_) = store.query("SELECT end_user_id FROM messages WHERE ended_position IS NULL")
    catching_up = CatchingUp(store.ledger, store.codec, store.projections)
    destroying = Destroying(store.ledger, catching_up, store.keyring, asyncio.to_thread, ())
    fall_behind(store)
    found = list[bool]()

    def choose(transaction: Transaction) -> Sequence[UUID]:
        found.append(transaction.has_unended(UUID(bytes=person) if isinstance(person, bytes) else person))
        return ()

    await destroying.destroy(choose)
    assert found == [True]


class SomeVersions:
    """What a look shows is set; what is dropped is noted."""

    def __init__(self) -> None:
        self.seen = SeenVersions((), (), is_here=True, lags_behind=False)
        self.dropped: list[int] = []

    async def look(self) -> SeenVersions:
        return self.seen

    async def drop(self, version: int) -> bool:
        self.dropped.append(version)
        return True

    async def make(self) -> None:
        raise AssertionError("there are tables")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def beside() -> tuple[SideBySide, SomeVersions, Clock, Sequence[int]]:
    versions, clock, caught_up = SomeVersions(), Clock(), list[int]()

    async def catch_up() -> None:
        caught_up.append(1)

    return SideBySide(versions, catch_up, clock), versions, clock, caught_up


async def test_nobody_is_taken_to_be_alone_without_having_looked_a_moment_ago(
    beside: tuple[SideBySide, SomeVersions, Clock, Sequence[int]],
) -> None:
    looking, versions, clock, caught_up = beside
    assert looking.may_lag()
    await looking.look()
    assert not looking.may_lag()
    clock.seconds += side_by_side.SECONDS_TRUSTED + 0.1
    assert looking.may_lag()
    for seen, may_lag in (
        (SeenVersions([2], [2], is_here=True, lags_behind=False), True),
        (SeenVersions([2], [], is_here=True, lags_behind=True), True),
        (SeenVersions([2], [], is_here=True, lags_behind=False), False),
    ):
        versions.seen = seen
        await looking.look()
        assert looking.may_lag() is may_lag
    assert caught_up == [1]


async def test_tables_that_nobody_has_used_for_an_hour_are_dropped(
    beside: tuple[SideBySide, SomeVersions, Clock, Sequence[int]],
) -> None:
    looking, versions, clock, _ = beside

    async def after(seconds: float, *in_use: int) -> Sequence[int]:
        clock.seconds += seconds
        versions.seen = SeenVersions([2, 3], in_use, is_here=True, lags_behind=False)
        await looking.look()
        return versions.dropped

    assert await after(0, 2) == []
    assert await after(3_000, 3) == []
    assert await after(3_000, 3) == []
    assert await after(700, 3) == [2]
