"""What subscriptions rely on: positions that only rise, effects that count once, parked streams that are not lost.

Two trackings on one ledger stand for two processes.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from uuid import UUID

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.tracking import SqlTrackedProjection, SqlTracking
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.envelope import Envelope, Fact
from chatledger.application.ports.storage import EventRow
from chatledger.application.ports.tracking import Delivery, EffectFailedError, SupersededError
from chatledger.application.system_clock import new_id
from chatledger.domain.events import StopRequested
from tests.contracts.adapters import Followed
from tests.persistence.stores import a_row
from tests.support.host_tables import SeenEvents, seen


def append(followed: Followed, *stream_ids: UUID) -> list[Delivery]:
    """One event after the other in these streams."""
    with followed.ledger.write() as transaction:
        position = transaction.head().position
        stored = transaction.streams(set(stream_ids))
        versions = {stream_id: stored[stream_id].version for stream_id in stored}
        rows = []
        for stream_id in stream_ids:
            position += 1
            versions[stream_id] = versions.get(stream_id, 0) + 1
            rows.append(a_row(position, stream_id, versions[stream_id]))
        transaction.append(rows)
    return [delivery(row) for row in rows]


def delivery(row: EventRow) -> Delivery:
    body = StopRequested(by="user")
    envelope = Envelope(row.position, row.stream_id, "message", row.version, new_id(), 1, row.position, None, body)
    return Delivery(row, Fact(envelope, Context(actor=SYSTEM, correlation_id=new_id())))


async def counted(tracking: SqlTracking) -> list[int]:
    """The positions that count in the projection."""
    return await tracking._reader.query(lambda connection: [row.position for row in connection.execute(seen())])


@pytest.fixture
def tracking(followed: Followed) -> SqlTracking:
    return followed.open_tracking()


@pytest.fixture
async def projection(tracking: SqlTracking) -> SqlTrackedProjection:
    tracked = SqlTrackedProjection(SeenEvents(), tracking)
    assert await tracked.begin() == 0
    return tracked


# Positions


async def test_a_subscription_stands_where_it_was_begun_once(tracking):
    assert (await tracking.standing("mail")).position == 0
    assert await tracking.begin("mail", 7) == 7
    assert await tracking.begin("mail", 3) == 7
    assert await tracking.begin("search", 0) == 0
    assert (await tracking.standing("mail")).position == 7


async def test_a_position_never_falls(tracking, followed):
    await tracking.begin("mail", 0)
    await tracking.move("mail", 5)
    await followed.open_tracking().move("mail", 4)
    assert (await tracking.standing("mail")).position == 5
    await tracking.move("mail", 6)
    assert (await tracking.standing("mail")).position == 6


# Effect and position


async def test_effect_and_position_stand_or_fall_together(tracking, projection, followed):
    first, second = append(followed, new_id(), new_id())
    assert await projection.project(0, [first], 1) == 1

    def fail(fact: Fact) -> None:
        raise ZeroDivisionError

    projection._projection.check = fail
    with pytest.raises(EffectFailedError) as failed:
        await projection.project(1, [second], 2)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert (await counted(tracking), (await tracking.standing("seen")).position) == ([1], 1)


async def test_what_somebody_else_has_projected_is_not_projected_again(tracking, projection, followed):
    other = SqlTrackedProjection(SeenEvents(), followed.open_tracking())
    assert await other.begin() == 0
    deliveries = append(followed, *(new_id() for _ in range(6)))
    assert await projection.project(0, deliveries[:3], 3) == 3
    assert await other.project(0, deliveries, 6) == 3
    assert await other.project(0, deliveries[:2], 2) == 3
    assert await other.project(3, deliveries[3:], 6) == 6
    assert await counted(tracking) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("seed", range(3))
async def test_two_that_run_one_projection_count_each_event_once(followed, seed):
    dice = random.Random(seed)
    deliveries = append(followed, *(new_id() for _ in range(200)))

    async def run(tracked: SqlTrackedProjection) -> None:
        position = await tracked.begin()
        while position < len(deliveries):
            end = min(len(deliveries), position + dice.randint(1, 12))
            position = await tracked.project(position, deliveries[position:end], end)

    trackings = [followed.open_tracking() for _ in range(2)]
    await asyncio.gather(*(run(SqlTrackedProjection(SeenEvents(), tracking)) for tracking in trackings))
    assert await counted(trackings[0]) == list(range(1, 201))


async def test_a_slow_projection_gets_few_events_in_a_transaction(tracking, projection, followed):
    projection._projection.check = lambda fact: time.sleep(0.002)
    deliveries = append(followed, *(new_id() for _ in range(60)))
    position, steps = 0, []
    while position < 60:
        moved_to = await projection.project(position, deliveries[position:], 60)
        steps.append(moved_to - position)
        position = moved_to
    assert max(steps[1:]) <= 3
    assert await counted(tracking) == list(range(1, 61))


async def test_positions_without_a_delivery_are_passed(tracking, projection):
    assert await projection.project(0, [], 9) == 9
    assert (await tracking.standing("seen")).position == 9


async def test_an_event_that_cannot_be_read_fails_like_any_other(tracking, projection, followed):
    (unread,) = append(followed, new_id())
    unread = Delivery(unread.row, LookupError("newer"))
    with pytest.raises(EffectFailedError) as failed:
        await projection.project(0, [unread], 1)
    assert failed.value.__cause__ is unread.content


async def test_of_two_versions_the_newer_one_goes_on(tracking, projection, followed):
    deliveries = append(followed, new_id(), new_id())
    await projection.project(0, deliveries[:1], 1)
    newer = SqlTrackedProjection(SeenEvents(version=2), followed.open_tracking())
    assert await newer.begin() == 0
    assert await counted(tracking) == []
    for late in (projection.project(1, deliveries[1:], 2), projection.restart()):
        with pytest.raises(SupersededError):
            await late
    assert await newer.project(0, deliveries, 2) == 2
    assert await counted(tracking) == [1, 2]


async def test_a_failed_preparation_leaves_nothing(tracking):
    class Unprepared(SeenEvents):
        def prepare(self, connection):
            connection.execute(sa.text("CREATE TABLE half_prepared (x INTEGER)"))
            raise ZeroDivisionError

    with pytest.raises(EffectFailedError):
        await SqlTrackedProjection(Unprepared("half"), tracking).begin()
    assert await tracking._reader.query(lambda connection: sa.inspect(connection).has_table("half_prepared")) is False


# Parked streams


async def park(tracking: SqlTracking, name: str, after: int, *deliveries: Delivery) -> None:
    for one in deliveries:
        after = await tracking.park(name, after, one, "ValueError")


def places(parked: Sequence) -> list[tuple]:
    return [(one.stream_id, one.version, one.position) for one in parked]


async def test_parking_moves_on_and_is_on_record(tracking, followed):
    stream_id = new_id()
    (first,) = append(followed, stream_id)
    await tracking.begin("mail", 0)
    assert await tracking.park("mail", 0, first, "ValueError") == 1
    (parked,) = await followed.open_tracking().parked("mail", 10)
    assert (parked.subscription, parked.error, parked.is_to_be_retried) == ("mail", "ValueError", False)
    assert places([parked]) == [(stream_id, 1, 1)]
    assert await tracking.parked_stream("mail", stream_id) == parked
    assert await tracking.parked_among("mail", [stream_id, new_id()]) == {stream_id}
    assert await tracking.count_parked("mail") == 1
    assert await tracking.parked("search", 10) == []
    assert await tracking.parked_stream("search", stream_id) is None
    assert await tracking.parked_among("search", [stream_id]) == set()


async def test_what_somebody_else_got_done_is_not_parked(tracking, projection, followed):
    (first,) = append(followed, new_id())
    await projection.project(0, [first], 1)
    assert await tracking.park("seen", 0, first, "ValueError") == 1
    assert await tracking.count_parked("seen") == 0


async def test_events_of_a_parked_stream_are_passed_over(tracking, projection, followed):
    bad, good = new_id(), new_id()
    deliveries = append(followed, bad, good, bad, good)
    await park(tracking, "seen", 0, deliveries[0])
    assert await projection.project(1, deliveries[1:], 4) == 4
    assert await counted(tracking) == [2, 4]


async def test_a_parked_stream_is_done_event_by_event_up_to_where_the_subscription_stands(
    tracking, projection, followed
):
    bad = new_id()
    deliveries = append(followed, bad, new_id(), bad, bad)
    await park(tracking, "seen", 0, deliveries[0])
    await projection.project(1, deliveries[1:3], 3)
    parked = await tracking.parked_stream("seen", bad)
    parked = await projection.project_parked(parked, deliveries[0])
    assert places([parked]) == [(bad, 2, 3)]
    assert await projection.project_parked(parked, deliveries[2]) is None
    assert await tracking.count_parked("seen") == 0
    assert await projection.project(3, deliveries[3:], 4) == 4
    assert await counted(tracking) == [2, 1, 3, 4]


async def test_a_parked_event_is_done_once_whoever_retries_it(tracking, projection, followed):
    bad = new_id()
    deliveries = append(followed, bad, bad)
    await park(tracking, "seen", 0, deliveries[0])
    await projection.project(1, deliveries[1:], 2)
    other = SqlTrackedProjection(SeenEvents(), followed.open_tracking())
    parked = await tracking.parked_stream("seen", bad)
    left = await projection.project_parked(parked, deliveries[0])
    assert await other.project_parked(parked, deliveries[0]) == left
    assert await other.project_parked(left, deliveries[1]) is None
    assert await projection.project_parked(left, deliveries[1]) is None
    assert await counted(tracking) == [1, 2]


async def test_a_retry_is_asked_for_by_anybody_and_ends_with_a_failure_or_the_last_event(tracking, followed):
    bad, worse = new_id(), new_id()
    deliveries = append(followed, bad, worse)
    await tracking.begin("mail", 0)
    await park(tracking, "mail", 0, *deliveries)
    assert (await tracking.standing("mail")).retries == []
    assert await followed.open_tracking().request_retry("mail", worse)
    assert not await tracking.request_retry("mail", new_id())
    (asked,) = (await tracking.standing("mail")).retries
    assert places([asked]) == [(worse, 1, 2)]
    await tracking.retry_failed(asked, "KeyError")
    assert (await tracking.standing("mail")).retries == []
    assert (await tracking.parked_stream("mail", worse)).error == "KeyError"
    assert await tracking.done_with(asked) is None
    assert places(await tracking.parked("mail", 10)) == [(bad, 1, 1)]


async def test_starting_anew_forgets_what_was_parked(tracking, projection, followed):
    deliveries = append(followed, new_id(), new_id())
    await park(tracking, "seen", 0, deliveries[0])
    await tracking.begin("mail", 0)
    await park(tracking, "mail", 0, deliveries[0])
    await projection.project(1, deliveries[1:], 2)
    await projection.restart()
    assert ((await tracking.standing("seen")).position, await counted(tracking)) == (0, [])
    assert await tracking.count_parked("seen") == 0
    assert await tracking.count_parked("mail") == 1
