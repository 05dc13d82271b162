"""What the library's cases do not ask of a recorder: one sequence for all, its place on the ledger, following it."""

import asyncio
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg
import pytest
from eventsourcing.persistence import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Tracking,
    WaitInterruptedError,
)

from chatledger.adapters.persistence.ledger_recorder import LedgerRecorder, SealedState
from chatledger.adapters.persistence.migrate import upgrade
from chatledger.adapters.persistence.open_ledgers import share_ledger
from chatledger.adapters.persistence.recorder import SqlRecorder, SqlSnapshotRecorder
from chatledger.adapters.persistence.subscription import SqlSubscription
from chatledger.application.ledger.hand_ins import HandIn, NewEvent
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.storage import EventRow
from chatledger.application.system_clock import SystemClock, new_id
from chatledger.domain.aggregate import Recorded
from chatledger.domain.events import StopRequested
from tests.persistence.stores import Store, a_row, open_store, running_writer
from tests.support.process import until


def events(count: int, stream_id: UUID | None = None, *, after: int = 0, topic: str = "topic") -> list[StoredEvent]:
    stream_id = stream_id or new_id()
    return [StoredEvent(stream_id, after + number, topic, b"state") for number in range(1, count + 1)]


def test_a_librarys_event_stands_on_the_ledger_like_any_other(store: Store) -> None:
    (event,) = events(1)
    store.recorder().insert_events([event])
    with store.ledger.write() as transaction:
        (row,) = transaction.read_log(0, 10)
    assert (row.position, row.stream_id, row.category, row.version) == (1, event.originator_id, "library:Shop", 1)
    assert (row.name, row.schema, row.public, row.sealed, row.key_id) == ("topic", 1, b"state", None, None)
    assert (row.algorithm, row.context_position, row.context) == ("none", 1, b"{}")
    assert row.event_id.version == 7
    assert row.recorded_at == 1_767_225_600_000_000
    assert row.leaf == leaf_hash(row)


def test_time_does_not_fall_where_the_clock_does(store: Store) -> None:
    recorder = store.recorder()
    recorder.insert_events(events(1))
    store.clock.pass_time(days=-1)
    recorder.insert_events(events(1))
    store.clock.pass_time(days=2)
    recorder.insert_events(events(1))
    day = 86_400_000_000
    times = [at for (at,) in store.query("SELECT recorded_at FROM events ORDER BY position")]
    assert [at - times[0] for at in times] == [0, 0, day]


def test_a_refused_insert_uses_no_position_up(store: Store) -> None:
    recorder, stream_id = store.recorder(), new_id()
    assert recorder.insert_events(events(2, stream_id)) == [1, 2]
    with pytest.raises(IntegrityError):
        recorder.insert_events([*events(3), *events(1, stream_id, after=1)])
    assert recorder.insert_events(events(1, stream_id, after=2)) == [3]
    assert store.positions() == [1, 2, 3]


def test_a_position_is_not_given_twice_even_after_its_row_is_gone(store: Store) -> None:
    recorder = store.recorder()
    recorder.insert_events(events(3))
    store.execute("DELETE FROM events WHERE position = 3")
    assert recorder.insert_events(events(1)) == [4]
    assert recorder.max_notification_id() == 4


def test_events_and_tracking_stand_or_fall_together(store: Store) -> None:
    recorder, stream_id = store.recorder(), new_id()
    recorder.insert_events(events(1, stream_id), tracking=Tracking("upstream", 5))
    with pytest.raises(IntegrityError, match="upstream was followed to 5 already"):
        recorder.insert_events(events(1), tracking=Tracking("upstream", 5))
    with pytest.raises(IntegrityError):
        recorder.insert_events(events(1, stream_id), tracking=Tracking("upstream", 6))
    assert recorder.max_notification_id() == 1
    assert recorder.max_tracking_id("upstream") == 5


def test_of_two_that_track_the_same_event_one_succeeds(store: Store) -> None:
    recorder, line = store.recorder(), threading.Barrier(4)
    outcomes: dict[int, list[bool]] = {number: [] for number in range(1, 51)}

    def follow() -> None:
        for number, done in outcomes.items():
            line.wait()
            try:
                recorder.insert_tracking(Tracking("upstream", number))
            except IntegrityError:
                done.append(False)
            else:
                done.append(True)

    threads = [threading.Thread(target=follow) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(done) for done in outcomes.values()] == [[False, False, False, True]] * 50


def test_a_store_in_trouble_is_the_librarys_operational_error(store: Store) -> None:
    recorder = store.recorder()
    with store.held_by_another(), pytest.raises(OperationalError, match=r"locked|lock timeout"):
        recorder.insert_events(events(1))
    assert recorder.insert_events(events(1)) == [1]
    store.execute("DROP VIEW ledger")
    with pytest.raises(DatabaseError, match=r"no such table|does not exist"):
        recorder.select_notifications(None, 1)


@pytest.mark.postgres
def test_connections_that_were_lost_while_idle_are_replaced(postgres_url: str) -> None:
    (event,) = events(1)

    def lose_all() -> None:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"SELECT pg_terminate_backend(pid) {others}")
            until(lambda: connection.execute(f"SELECT count(*) {others}").fetchone() == (0,))

    with closing(share_ledger(postgres_url, "relaxed", SystemClock(), new_id)) as share:
        upgrade(share.ledger.writing)
        recorder, snapshots = SqlRecorder(share, "Shop"), SqlSnapshotRecorder(share, "Shop")
        lose_all()
        assert recorder.insert_events([event]) == [1]
        lose_all()
        assert recorder.select_events(event.originator_id) == [event]
        lose_all()
        recorder.insert_tracking(Tracking("upstream", 1))
        lose_all()
        snapshots.insert_events([event])
        lose_all()
        with recorder.reading() as connection:
            assert connection.exec_driver_sql("SELECT position FROM library_tracking").all() == [(1,)]


def test_streams_are_named_by_uuids(store: Store) -> None:
    with pytest.raises(ProgrammingError, match="not by 'order-1'"):
        store.recorder().insert_events([StoredEvent("order-1", 1, "topic", b"")])
    with pytest.raises(ProgrammingError):
        store.recorder().select_events("order-1")
    assert store.recorder().max_notification_id() is None


def a_sealed_row(position: int, stream_id: UUID) -> EventRow:
    return a_row(position, stream_id, 1, sealed=b"\0sealed", key_id=new_id(), algorithm="aes-256-gcm")


def test_an_application_sees_its_own_events_alone(store: Store) -> None:
    shop, kennel = store.recorder("Shop"), store.recorder("Kennel")
    (sold,), (barked, slept) = events(1), events(2)
    assert (shop.max_notification_id(), kennel.max_notification_id()) == (None, None)
    assert [shop.insert_events([sold]), kennel.insert_events([barked, slept])] == [[1], [2, 3]]
    with store.ledger.write() as transaction:
        transaction.append([a_sealed_row(4, new_id())])
    (more,) = events(1)
    assert shop.insert_events([more]) == [5]
    assert [(one.id, one.originator_id) for one in shop.select_notifications(None, 10)] == [
        (1, sold.originator_id),
        (5, more.originator_id),
    ]
    assert [one.id for one in kennel.select_notifications(None, 10)] == [2, 3]
    assert (shop.max_notification_id(), kennel.max_notification_id()) == (5, 3)
    assert kennel.select_events(sold.originator_id) == []
    assert shop.select_events(sold.originator_id) == [sold]
    assert store.positions() == [1, 2, 3, 4, 5]


def test_a_stream_of_another_is_refused(store: Store) -> None:
    shop, kennel = store.recorder("Shop"), store.recorder("Kennel")
    (sold,), own = events(1), new_id()
    shop.insert_events([sold])
    with store.ledger.write() as transaction:
        transaction.append([a_sealed_row(2, own)])
    for stream_id, owner in ((sold.originator_id, "the application Shop"), (own, "chatledger itself")):
        with pytest.raises(ProgrammingError, match=f"stream {stream_id} belongs to {owner}, not to Kennel"):
            kennel.insert_events([*events(1), *events(1, stream_id, after=1)])
    assert kennel.max_notification_id() is None
    assert store.positions() == [1, 2]


def test_each_follower_tracks_for_itself(store: Store) -> None:
    shop, kennel = store.recorder("Shop"), store.recorder("Kennel")
    shop.insert_tracking(Tracking("upstream", 5))
    kennel.insert_events(events(1), tracking=Tracking("upstream", 3))
    assert (shop.max_tracking_id("upstream"), kennel.max_tracking_id("upstream")) == (5, 3)


def test_snapshots_stand_beside_the_ledger_and_each_application_has_its_own(store: Store) -> None:
    shop = SqlSnapshotRecorder(store.recorder()._share, "Shop")
    kennel = SqlSnapshotRecorder(store.recorder()._share, "Kennel")
    first, second, third = events(3)
    shop.insert_events([first, second])
    kennel.insert_events([first])
    shop.insert_events([third])
    shop.insert_events([])
    with pytest.raises(IntegrityError):
        shop.insert_events([second])
    stream_id = first.originator_id
    assert shop.select_events(stream_id, desc=True, limit=2) == [third, second]
    assert shop.select_events(stream_id, lte=2, gt=1) == [second]
    assert kennel.select_events(stream_id) == [first]
    assert store.positions() == []


def test_chatledgers_own_events_can_be_followed_but_not_added_to(store: Store) -> None:
    ledger, shop, stream_id = LedgerRecorder(store.reading), store.recorder(), new_id()
    assert ledger.max_notification_id() is None
    row = a_sealed_row(2, stream_id)
    shop.insert_events(events(1))
    with store.ledger.write() as transaction:
        transaction.append([row])
    shop.insert_events(events(1))
    with pytest.raises(ProgrammingError, match="by chatledger alone"):
        ledger.insert_events(events(1))
    (event,) = ledger.select_events(stream_id)
    (notification,) = ledger.select_notifications(None, 10)
    assert (event.topic, event.originator_version, event.state) == ("StopRequested", 1, notification.state)
    assert notification.id == ledger.max_notification_id() == 2
    assert ledger.select_notifications(2, 10, inclusive_of_start=False) == []
    state = msgspec.json.decode(event.state, type=SealedState)
    assert (state.event_id, state.recorded_at, state.schema) == (row.event_id, row.recorded_at, row.schema)
    assert (bytes(state.public), state.sealed, state.key_id) == (row.public, row.sealed, row.key_id)


async def test_the_recorder_and_the_ledgers_writer_share_one_sequence(store: Store) -> None:
    recorder, given = store.recorder(), []

    def insert() -> None:
        for _ in range(50):
            given.extend(recorder.insert_events(events(3)))

    async with running_writer(store, asyncio.get_running_loop()) as writer:
        threads = [threading.Thread(target=insert) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            futures = [
                writer.hand_in(
                    HandIn(
                        events=[NewEvent(Recorded(new_id(), 1, StopRequested(by="user")), "message", new_id(), None)],
                        context=1,
                    )
                )
                for _ in range(10)
            ]
            for envelopes in await asyncio.gather(*futures):
                given.extend(envelope.position for envelope in envelopes)
        await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    assert sorted(given) == store.positions() == list(range(1, 651))


# Following


def take(subscription: SqlSubscription, count: int) -> list[int]:
    return [next(subscription).id for _ in range(count)]


def test_a_subscriber_sees_each_event_once_in_order_whoever_commits(store: Store) -> None:
    recorder = store.recorder()

    def insert() -> None:
        for _ in range(40):
            recorder.insert_events(events(2))

    with recorder.subscribe() as subscription:
        threads = [threading.Thread(target=insert) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert take(subscription, 320) == list(range(1, 321))
        for thread in threads:
            thread.join()


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself within an hour: whatever he is told in time, he was woken for."""
    monkeypatch.setattr(SqlSubscription, "poll_interval", 3600.0)
    monkeypatch.setattr("chatledger.adapters.persistence.recorder.SECONDS_BETWEEN_LOOKS", 3600.0)


@pytest.mark.usefixtures("patience")
def test_no_wake_up_is_lost(store: Store) -> None:
    recorder = store.recorder()
    for number in range(1, 101):
        # Each begins to follow while the commit is under way.
        thread = threading.Thread(target=recorder.insert_events, args=(events(1),))
        thread.start()
        with recorder.subscribe(number - 1) as subscription:
            assert take(subscription, 1) == [number]
        thread.join()


@pytest.mark.usefixtures("patience")
def test_recorders_of_one_process_wake_each_other(store: Store) -> None:
    with store.recorder().subscribe() as subscription:
        for number in (1, 2, 3):
            store.recorder().insert_events(events(1))
            assert take(subscription, 1) == [number]


def test_what_another_process_commits_is_found(store: Store) -> None:
    with store.elsewhere() as elsewhere, store.recorder().subscribe() as subscription:
        for number in (1, 2, 3):
            elsewhere.insert_events(events(1))
            assert take(subscription, 1) == [number]


@pytest.mark.postgres
@pytest.mark.usefixtures("patience")
def test_what_another_process_commits_to_postgres_is_told(tmp_path: Path, postgres_url: str) -> None:
    with ExitStack() as stack:
        store = stack.enter_context(open_store(tmp_path, postgres_url))
        elsewhere = stack.enter_context(store.elsewhere())
        subscription = stack.enter_context(store.recorder().subscribe())
        for number in (1, 2, 3):
            elsewhere.insert_events(events(1))
            assert take(subscription, 1) == [number]


@pytest.mark.usefixtures("patience")
def test_whoever_hears_of_chatledgers_commits_may_wake_the_subscribers(store: Store) -> None:
    ledger = LedgerRecorder(store.reading)
    with ledger.subscribe() as subscription:
        with store.ledger.write() as transaction:
            transaction.append([a_row(1, new_id(), 1)])
        ledger.wake()
        assert take(subscription, 1) == [1]


@pytest.mark.parametrize("moved_by", ["tracking alone", "events"])
@pytest.mark.usefixtures("patience")
@pytest.mark.timeout(30)
def test_whoever_waits_for_a_follower_is_woken(store: Store, moved_by: str) -> None:
    waiting, moving = store.recorder(), store.recorder()
    store.recorder("Kennel").insert_tracking(Tracking("upstream", 9))

    def move() -> None:
        until(lambda: store.opened._listeners._events, what="the wait")
        moving.insert_events(events(1 if moved_by == "events" else 0), tracking=Tracking("upstream", 2))

    thread = threading.Thread(target=move)
    thread.start()
    waiting.wait("upstream", 2, timeout=3600)
    thread.join()
    assert waiting.max_tracking_id("upstream") == 2


def test_waiting_ends(store: Store) -> None:
    recorder, interrupt = store.recorder(), threading.Event()
    recorder.wait("upstream", None, timeout=0)
    with pytest.raises(TimeoutError, match="Shop has not followed upstream to 1 yet"):
        recorder.wait("upstream", 1, timeout=0.01)
    interrupt.set()
    with pytest.raises(WaitInterruptedError):
        recorder.wait("upstream", 1, timeout=60, interrupt=interrupt)


def test_stopping_ends_the_thread_even_where_nobody_takes_anything(store: Store) -> None:
    recorder = store.recorder()
    recorder.insert_events(events(7_000))
    recorder.subscribe().stop()
    before = threading.active_count()
    subscription = recorder.subscribe()
    assert threading.active_count() == before + 1
    assert take(subscription, 1) == [1]
    subscription.stop()
    assert threading.active_count() == before
    subscription.stop()
    assert list(subscription) == []


def test_a_subscriber_is_told_what_broke(store: Store) -> None:
    recorder = store.recorder()
    recorder.insert_events(events(1))
    subscription = recorder.subscribe()
    assert take(subscription, 1) == [1]
    store.execute("DROP VIEW ledger")
    store.opened.wake()
    with pytest.raises(DatabaseError, match="ledger"):
        next(subscription)
    subscription._pull_thread.join()


def test_topics_are_a_filter_and_positions_stay(store: Store) -> None:
    recorder = store.recorder()
    for topic in ("a", "b", "a", "b"):
        recorder.insert_events(events(1, topic=topic))
    with recorder.subscribe(gt=1, topics=["a"]) as subscription:
        assert take(subscription, 1) == [3]
        recorder.insert_events(events(1, topic="a"))
        assert take(subscription, 1) == [5]


def test_a_filter_loses_nothing_over_many_pages(store: Store) -> None:
    recorder = store.recorder()
    wanted = []
    for page in range(6):
        wanted += recorder.insert_events([event for _ in range(130) for event in events(1, topic="a")])
        recorder.insert_events([event for _ in range(130) for event in events(1, topic="b")])
        if page == 2:
            subscription = recorder.subscribe(topics=["a"])
    with subscription:
        assert take(subscription, len(wanted)) == wanted


def test_what_a_filter_left_out_is_not_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, starts = store.recorder(), []

    def noting(start: int, *arguments: object, **options: object) -> object:
        starts.append(start)
        return SqlRecorder.select_notifications(recorder, start, *arguments, **options)

    recorder.insert_events(events(3, topic="b"))
    monkeypatch.setattr(recorder, "select_notifications", noting)
    with recorder.subscribe(topics=["a"]) as subscription:
        recorder.insert_events(events(1, topic="b"))
        until(lambda: starts[-1:] == [4])
        recorder.insert_events(events(1, topic="a"))
        assert take(subscription, 1) == [5]
