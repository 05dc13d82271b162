"""What the library's cases do not ask of a recorder: one sequence for all, its place on the ledger, following it."""

import asyncio
import threading
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from eventsourcing.persistence import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Tracking,
)

from chatledger.adapters.clock import new_id
from chatledger.adapters.persistence.recorder import SealedState, SqlRecorder, SqlSubscription
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ledger.writer import HandIn, NewEvent
from chatledger.domain.aggregate import Recorded
from chatledger.domain.events import StopRequested
from tests.persistence.stores import Store, a_row, running_writer


def events(count: int, stream_id: UUID | None = None, *, after: int = 0, topic: str = "topic") -> list[StoredEvent]:
    stream_id = stream_id or new_id()
    return [StoredEvent(stream_id, after + number, topic, b"state") for number in range(1, count + 1)]


def test_a_librarys_event_stands_on_the_ledger_like_any_other(store: Store) -> None:
    (event,) = events(1)
    store.recorder().insert_events([event])
    with store.ledger.write() as transaction:
        (row,) = transaction.read_log(0, 10)
    assert (row.position, row.stream_id, row.category, row.version) == (1, event.originator_id, "library", 1)
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


def test_streams_are_named_by_uuids(store: Store) -> None:
    with pytest.raises(ProgrammingError, match="not by 'order-1'"):
        store.recorder().insert_events([StoredEvent("order-1", 1, "topic", b"")])
    with pytest.raises(ProgrammingError):
        store.recorder().select_events("order-1")
    assert store.recorder().max_notification_id() is None


def test_chatledgers_own_streams_can_be_read_but_not_added_to(store: Store) -> None:
    recorder, stream_id = store.recorder(), new_id()
    row = a_row(1, stream_id, 1, sealed=b"\0sealed", key_id=new_id(), algorithm="aes-256-gcm")
    with store.ledger.write() as transaction:
        transaction.append([row])
    with pytest.raises(ProgrammingError, match="chatledger's own"):
        recorder.insert_events([*events(1), *events(1, stream_id, after=1)])
    assert recorder.max_notification_id() == 1
    (event,) = recorder.select_events(stream_id)
    (notification,) = recorder.select_notifications(None, 10)
    assert (event.topic, event.originator_version, event.state) == ("StopRequested", 1, notification.state)
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


class _Patient(SqlSubscription):
    """One that would take an hour to look by itself: whatever it is told in time, it was woken for."""

    poll_interval = 3600.0


def test_no_wake_up_is_lost(store: Store) -> None:
    recorder = store.recorder()
    for number in range(1, 101):
        # Each begins to follow while the commit is under way.
        thread = threading.Thread(target=recorder.insert_events, args=(events(1),))
        thread.start()
        with _Patient(recorder, number - 1, ()) as subscription:
            assert take(subscription, 1) == [number]
        thread.join()


def test_what_another_process_commits_is_found(store: Store) -> None:
    elsewhere = SqlRecorder(store.writing, store.reading, store.clock, new_id)
    with store.recorder().subscribe() as subscription:
        for number in (1, 2, 3):
            elsewhere.insert_events(events(1))
            assert take(subscription, 1) == [number]


def test_whoever_commits_by_another_way_may_wake_the_subscribers(store: Store) -> None:
    recorder = store.recorder()
    with _Patient(recorder, None, ()) as subscription:
        with store.ledger.write() as transaction:
            transaction.append([a_row(1, new_id(), 1)])
        recorder.wake()
        assert take(subscription, 1) == [1]


def test_stopping_ends_the_thread_even_where_nobody_takes_anything(store: Store) -> None:
    recorder = store.recorder()
    recorder.insert_events(events(7_000))
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
    recorder.wake()
    with pytest.raises(DatabaseError):
        next(subscription)
    subscription._pull_thread.join()


def test_topics_are_a_filter_and_positions_stay(store: Store, tmp_path: Path) -> None:
    recorder = store.recorder()
    for topic in ("a", "b", "a", "b"):
        recorder.insert_events(events(1, topic=topic))
    with recorder.subscribe(gt=1, topics=["a"]) as subscription:
        assert take(subscription, 1) == [3]
        recorder.insert_events(events(1, topic="a"))
        assert take(subscription, 1) == [5]
