"""Projections and handlers of a host: what they are given, in which order, how often, and what a failure costs."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.envelope import Fact
from chatledger.application.ledger.hand_ins import HandIn, NewEvent
from chatledger.application.ledger.log import PAGE
from chatledger.application.ledger.subscription import Handler, SubscriptionStoppedError
from chatledger.application.ledger.subscriptions import SubscriptionProblemError
from chatledger.application.ports.storage import StorageUnavailableError, Update
from chatledger.application.system_clock import new_id
from chatledger.domain.aggregate import Recorded
from chatledger.domain.events import StopRequested
from tests.application.chat import DEADLINE, Chat, until
from tests.persistence.stores import a_row
from tests.support.host_tables import SeenEvents, seen


async def stops(chat: Chat, *versions: int, stream_id: UUID | None = None) -> UUID:
    """Commit events of one stream: the cheapest there are."""
    stream_id = stream_id or new_id()
    events = [
        NewEvent(Recorded(stream_id, version, StopRequested(by="user")), "message", new_id(), None)
        for version in versions or (1,)
    ]
    await chat.running.writer.hand_in(HandIn(events=events, context=Context(actor=SYSTEM, correlation_id=new_id())))
    return stream_id


class Done(NamedTuple):
    """An event that counts."""

    position: int
    stream_id: UUID
    version: int


class Following(ABC):
    """A subscription under test, of either kind: what it is opened with, and what it has done."""

    name: str
    options: dict[str, Any]

    def __init__(self) -> None:
        self.fails_on: set[UUID] = set()
        self.fails_at: Container[int] = range(1, 1_000)
        self.error: type[Exception] = ZeroDivisionError
        self.given: list[Fact] = []

    def take(self, fact: Fact) -> None:
        self.given.append(fact)
        if fact.envelope.stream_id in self.fails_on and fact.envelope.version in self.fails_at:
            raise self.error("nobody is told of this text")

    def tries(self, stream_id: UUID) -> int:
        return sum(fact.envelope.stream_id == stream_id for fact in self.given)

    @abstractmethod
    async def done(self, chat: Chat) -> list[Done]:
        """What it has done, in the order in which it did it."""

    async def positions(self, chat: Chat) -> list[int]:
        return [done.position for done in await self.done(chat)]

    async def versions(self, chat: Chat, stream_id: UUID) -> list[int]:
        return [done.version for done in await self.done(chat) if done.stream_id == stream_id]


class FollowingProjection(Following):
    name = "seen"

    def __init__(self) -> None:
        super().__init__()
        projection = SeenEvents(self.name)
        projection.check = self.take
        self.options = {"projections": [projection]}

    async def done(self, chat: Chat) -> list[Done]:
        return await chat.running.reader.query(lambda connection: [Done(*row) for row in connection.execute(seen())])


class FollowingHandler(Following):
    name = "handled"

    def __init__(self) -> None:
        super().__init__()
        self.handled: list[Done] = []
        self.options = {"handlers": [Handler(name=self.name, handle=self.handle, since="first")]}

    async def handle(self, fact: Fact) -> None:
        self.take(fact)
        self.handled.append(Done(fact.envelope.position, fact.envelope.stream_id, fact.envelope.version))

    async def done(self, chat: Chat) -> list[Done]:
        return self.handled


def all_of(chat: Chat) -> list[int]:
    """Every position that this chat's ledger has."""
    return list(range(1, chat.running.writer.head_position + 1))


@asynccontextmanager
async def writes_going_on(chat: Chat) -> AsyncIterator[None]:
    is_over = False

    async def write() -> None:
        while not is_over:
            await stops(chat)

    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        is_over = True
        await writing


@pytest.fixture(params=[FollowingProjection, FollowingHandler], ids=["projection", "handler"])
def following(request) -> Following:
    return request.param()


# What it is given


async def test_it_is_given_every_event_once_in_order_with_its_actor_and_content(open_host, following):
    async with open_host(with_worker=True, **following.options) as chat:
        sent = await chat.send("tokens=20 interval_ms=1")
        await chat.to_the_end(sent)
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        assert await following.positions(chat) == all_of(chat)
        given = [fact for fact in following.given if fact.envelope.stream_id == sent.message_id]
        facts, _ = await chat.application.facts.stream(sent.message_id, 0, 100)
        assert given == facts
        asked, *_, ended = given
        assert asked.envelope.body.query.startswith("/script")
        assert (asked.context.actor.kind, ended.context.actor.kind) == ("end_user", "worker")


async def test_it_goes_on_where_it_stood(open_host, following):
    async with open_host(**following.options) as chat:
        await stops(chat)
        await chat.running.subscriptions[following.name].caught_up()
    async with open_host() as chat:
        await stops(chat, 1, 2, 3)
    async with open_host(**following.options) as chat:
        await stops(chat)
        await chat.running.subscriptions[following.name].caught_up()
        assert await following.positions(chat) == all_of(chat)


async def test_a_handler_may_begin_with_what_comes_from_now_on(open_host):
    handled = []

    async def handle(fact):
        handled.append(fact.envelope.stream_id)

    handler = Handler(name="late", handle=handle, since="now")
    async with open_host() as chat:
        await stops(chat)
    async with open_host(handlers=[handler]) as chat:
        await chat.running.subscriptions["late"].caught_up()
        assert handled == []
        expected = [await stops(chat)]
        await chat.running.subscriptions["late"].caught_up()
    async with open_host() as chat:
        expected.append(await stops(chat))
    async with open_host(handlers=[handler]) as chat:
        await chat.running.subscriptions["late"].caught_up()
    assert handled == expected


async def test_what_another_process_commits_is_found_without_a_wake_up(open_host, following):
    async with open_host(subscription_poll=0.05, **following.options) as chat:
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        chat.running.writer._observers.clear()
        await stops(chat)
        await subscription.caught_up()
        assert len(await following.positions(chat)) == chat.running.writer.head_position


async def test_a_wake_up_spares_the_wait(open_host, following):
    async with open_host(subscription_poll=3_600, **following.options) as chat:
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        chat.running.writer._observers.clear()
        await stops(chat)
        chat.running.subscriptions.wake()
        await subscription.caught_up()


async def test_a_wake_up_in_the_middle_of_a_page_is_not_lost(open_host):
    handled = []

    async def handle(fact):
        if fact.envelope.category == "message":
            handled.append(fact.envelope.stream_id)
            if len(handled) < 3:
                await stops(chat)

    handler = Handler(name="chain", handle=handle, since="now")
    async with open_host(handlers=[handler], subscription_poll=3_600) as chat:
        await stops(chat)
        await until(lambda: asyncio.sleep(0, len(handled) == 3))


# Failures


async def test_a_failure_that_passes_costs_nothing(open_host, following):
    async with open_host(subscription_attempts=5, **following.options) as chat:
        bad = new_id()
        following.fails_on.add(bad)
        await stops(chat, 1, 2, 3, stream_id=bad)
        await until(lambda: asyncio.sleep(0, following.tries(bad) == 2))
        following.fails_on.clear()
        await chat.running.subscriptions[following.name].caught_up()
        assert await following.positions(chat) == all_of(chat)
        assert await chat.running.subscriptions[following.name].parked() == []


async def test_a_poisonous_event_parks_its_stream_and_leaves_the_others_going(open_host, following, caplog):
    async with open_host(**following.options) as chat:
        bad, good = new_id(), new_id()
        following.fails_on.add(bad)
        for stream_id in (good, bad):
            await stops(chat, 1, 2, stream_id=stream_id)
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        tries = len(following.given)
        for stream_id in (bad, good):
            await stops(chat, 3, stream_id=stream_id)
        await subscription.caught_up()
        assert await following.versions(chat, good) == [1, 2, 3]
        assert await following.versions(chat, bad) == []
        assert len(following.given) == tries + 1
        (parked,) = await subscription.parked()
        first = (await chat.running.ledger.read(bad))[0]
        assert (parked.stream_id, parked.version, parked.position) == (bad, 1, first.position)
        assert (parked.subscription, parked.error) == (following.name, "ZeroDivisionError")
        (status,) = await chat.running.subscriptions.status()
        assert (status.name, status.lag, status.parked) == (following.name, 0, 1)
        assert str(bad) in caplog.text
        assert "nobody is told" not in caplog.text
        done = await following.positions(chat)
        assert done == sorted(set(done))


async def test_later_events_of_a_parked_stream_are_not_done_before_the_first(open_host, following):
    bad = new_id()
    async with open_host() as chat:
        await stops(chat, 1, 2, 3, stream_id=bad)
    async with open_host(**following.options) as chat:
        following.fails_on.add(bad)
        following.fails_at = {1}
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        assert await following.versions(chat, bad) == []
        following.fails_on.clear()
        assert await subscription.retry(bad)
        assert await following.versions(chat, bad) == [1, 2, 3]


@pytest.mark.parametrize("attempts", [1, 3])
async def test_an_event_is_tried_as_often_as_is_set(open_host, attempts):
    following, bad = FollowingHandler(), new_id()
    async with open_host() as chat:
        await stops(chat, 1, 2)
        await stops(chat, stream_id=bad)
    following.fails_on.add(bad)
    async with open_host(subscription_attempts=attempts, **following.options) as chat:
        await chat.running.subscriptions[following.name].caught_up()
        assert following.tries(bad) == attempts


async def test_a_parked_stream_is_retried_in_order_and_then_goes_on(open_host, following):
    bad = new_id()
    async with open_host(**following.options) as chat:
        following.fails_on.add(bad)
        await stops(chat, 1, 2, stream_id=bad)
        await chat.running.subscriptions[following.name].caught_up()
    async with open_host(**following.options) as chat:
        await stops(chat, 3, stream_id=bad)
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        assert await subscription.retry(bad) is False
        (parked,) = await subscription.parked()
        assert (parked.version, parked.is_to_be_retried) == (1, False)
        following.fails_on.clear()
        assert await subscription.retry(bad) is True
        assert await subscription.parked() == []
        await stops(chat, 4, stream_id=bad)
        await subscription.caught_up()
        assert await following.versions(chat, bad) == [1, 2, 3, 4]
        done = await following.positions(chat)
        assert sorted(done) == all_of(chat)


async def test_a_retry_that_fails_in_the_middle_keeps_what_it_has_done(open_host, following):
    bad = new_id()
    async with open_host(**following.options) as chat:
        following.fails_on.add(bad)
        await stops(chat, 1, 2, 3, stream_id=bad)
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        following.fails_at = {3}
        assert await subscription.retry(bad) is False
        (parked,) = await subscription.parked()
        assert parked.version == 3
        assert await following.versions(chat, bad) == [1, 2]
    async with open_host(**following.options) as chat:
        following.fails_on.clear()
        assert await chat.running.subscriptions[following.name].retry(bad) is True
        assert await following.versions(chat, bad) == [1, 2, 3]


async def test_a_stream_that_is_not_parked_is_not_retried(open_host, following):
    async with open_host(**following.options) as chat:
        with pytest.raises(LookupError, match="has not parked"):
            await chat.running.subscriptions[following.name].retry(new_id())


async def test_a_store_in_trouble_parks_nothing(open_host, following):
    async with open_host(subscription_poll=0.01, **following.options) as chat:
        following.error = StorageUnavailableError
        bad = new_id()
        following.fails_on.add(bad)
        await stops(chat, stream_id=bad)
        await until(lambda: asyncio.sleep(0, len(following.given) > 10))
        subscription = chat.running.subscriptions[following.name]
        assert await subscription.parked() == []
        following.fails_on.clear()
        await subscription.caught_up()
        assert await following.versions(chat, bad) == [1]


async def test_many_poisonous_streams_in_one_page(open_host, following):
    async with open_host(subscription_attempts=1) as chat:
        streams = [await stops(chat, 1, 2) for _ in range(12)]
        following.fails_on.update(streams[::3])
    async with open_host(subscription_attempts=1, **following.options) as chat:
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        assert {parked.stream_id for parked in await subscription.parked()} == set(streams[::3])
        done = await following.positions(chat)
        assert done == sorted(set(done))
        assert len(done) == len(all_of(chat)) - 2 * len(streams[::3])


async def test_an_event_that_this_release_does_not_know_parks_its_stream(open_host, following):
    async with open_host(**following.options) as chat:
        newer = await raw_event(chat, name="NotYetInvented")
        other = await stops(chat)
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        parked = {one.stream_id: one.error for one in await subscription.parked()}
        assert parked == {newer: "UnknownEventError"}
        assert await following.versions(chat, other) == [1]


async def test_events_of_applications_built_on_the_library_are_not_for_it(open_host, following):
    async with open_host(**following.options) as chat:
        foreign = await raw_event(chat, name="shop:Order.Placed", category="library:Shop")
        own = await stops(chat)
        foreign_at_the_end = await raw_event(chat, name="shop:Order.Placed", category="library:Shop")
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        (status,) = await chat.running.subscriptions.status()
        assert (status.lag, status.parked) == (0, 0)
        given = {fact.envelope.stream_id for fact in following.given}
        assert own in given
        assert given.isdisjoint({foreign, foreign_at_the_end})


async def raw_event(chat: Chat, **changed: str) -> UUID:
    """An event that no aggregate of this release records; its stream."""
    stream_id = new_id()

    def append() -> None:
        with chat.running.store.write() as transaction:
            transaction.append([a_row(transaction.head().position + 1, stream_id, 1, **changed)])

    await chat.running.writer.run_alone(append)
    return stream_id


async def test_a_handler_that_hangs_is_cut_off(open_host):
    hanging, done = new_id(), []

    async def handle(fact):
        if fact.envelope.stream_id == hanging:
            await asyncio.Event().wait()
        if fact.envelope.category == "message":
            done.append(fact.envelope.stream_id)

    handler = Handler(name="hangs", handle=handle, since="now", timeout=0.01)
    async with open_host(handlers=[handler]) as chat:
        await stops(chat, stream_id=hanging)
        other = await stops(chat)
        await chat.running.subscriptions["hangs"].caught_up()
        (parked,) = await chat.running.subscriptions["hangs"].parked()
        assert (parked.stream_id, parked.error) == (hanging, "TimeoutError")
        assert done == [other]


async def test_a_handler_whose_own_task_was_cancelled_has_failed_and_no_more(open_host):
    async def handle(fact):
        if fact.envelope.category == "message":
            lost = asyncio.get_running_loop().create_future()
            lost.cancel()
            await lost

    async with open_host(handlers=[Handler(name="cancelled", handle=handle, since="now")]) as chat:
        await stops(chat)
        await chat.running.subscriptions["cancelled"].caught_up()
        (parked,) = await chat.running.subscriptions["cancelled"].parked()
        assert parked.error == "CancelledError"


async def test_one_that_is_slow_holds_up_neither_another_nor_the_writer(open_host):
    may_go_on = asyncio.Event()

    async def handle(fact):
        await may_go_on.wait()

    projection = SeenEvents()
    handlers = [Handler(name="slow", handle=handle, since="first")]
    async with open_host(projections=[projection], handlers=handlers, shutdown_grace=30) as chat:
        for _ in range(5):
            await stops(chat)
        await chat.running.subscriptions["seen"].caught_up()
        status = {one.name: one for one in await chat.running.subscriptions.status()}
        assert (status["seen"].lag, status["slow"].position) == (0, 0)
        assert status["slow"].lag == chat.running.writer.head_position
        with pytest.raises(TimeoutError):
            await chat.running.subscriptions["slow"].caught_up(timeout=0.01)
        may_go_on.set()
        await chat.running.subscriptions["slow"].caught_up()


# What was erased, and what is not chatledger's


async def test_what_was_erased_is_given_as_erased(open_host, following, tmp_path):
    async with open_host() as chat:
        sent = await chat.send("text=canary")
        sent.follower.close()
        key_id = (await chat.events(sent.message_id))[0].key_id
        chat.running.ledger.keyring.destroy([key_id])
    async with open_host(**following.options) as chat:
        subscription = chat.running.subscriptions[following.name]
        await subscription.caught_up()
        assert await subscription.parked() == []
        (created,) = [fact.envelope for fact in following.given if fact.envelope.stream_id == sent.message_id]
        assert (created.is_erased, created.body.query, created.body.inputs) == (True, "", {})
        assert created.body.task_id == sent.task_id
        others = {fact.envelope.is_erased for fact in following.given if fact.envelope.category == "app"}
        assert others == {False}


# Versions and rebuilding


async def test_another_version_follows_again_from_the_first_event_on(open_host):
    async with open_host(projections=[SeenEvents()]) as chat:
        await stops(chat, 1, 2)
        await chat.running.subscriptions["seen"].caught_up()
    following = FollowingProjection()
    async with open_host(**following.options) as chat:
        await chat.running.subscriptions["seen"].caught_up()
        assert following.given == []
    (projection,) = following.options["projections"]
    projection.version = 2
    async with open_host(**following.options) as chat:
        await chat.running.subscriptions["seen"].caught_up()
        assert [fact.envelope.position for fact in following.given] == all_of(chat)
        assert await following.positions(chat) == all_of(chat)


async def test_a_projection_is_rebuilt_while_writes_go_on(open_host):
    following = FollowingProjection()
    bad = new_id()
    async with open_host(**following.options) as chat:
        subscription = chat.running.subscriptions["seen"]
        following.fails_on.add(bad)
        await stops(chat, stream_id=bad)
        await subscription.caught_up()
        following.fails_on.clear()
        for _ in range(30):
            await stops(chat)
        async with writes_going_on(chat):
            await chat.running.subscriptions.rebuild("seen")
            assert subscription.position == 0
            await subscription.caught_up()
        await subscription.caught_up()
        assert await subscription.parked() == []
        assert await following.positions(chat) == all_of(chat)


async def test_what_cannot_be_rebuilt_says_so_and_stays_as_it_was(open_host):
    class Clinging(SeenEvents):
        clings = False

        def reset(self, connection):
            if self.clings:
                raise ZeroDivisionError

    projection, handler = Clinging(), FollowingHandler()
    async with open_host(projections=[projection], **handler.options) as chat:
        with pytest.raises(SubscriptionProblemError, match=r"^handled: what a handler has done"):
            await chat.running.subscriptions.rebuild("handled")
        await chat.running.subscriptions["seen"].caught_up()
        projection.clings = True
        with pytest.raises(SubscriptionProblemError, match=r"^seen: it could not be emptied: ZeroDivisionError$"):
            await chat.running.subscriptions.rebuild("seen")
        await stops(chat)
        await chat.running.subscriptions["seen"].caught_up()
        rows = await chat.running.reader.query(lambda connection: connection.execute(seen()).all())
        assert [row.position for row in rows] == all_of(chat)


async def test_a_projection_ends_where_another_version_of_it_takes_over(open_host):
    async with open_host(**FollowingProjection().options) as chat:
        subscription = chat.running.subscriptions["seen"]
        await subscription.caught_up()

        def take_over() -> None:
            with chat.running.store.write() as transaction:
                transaction.apply([Update("tracking", {"name": "seen"}, {"version": 2})])

        await chat.running.writer.run_alone(take_over)
        with pytest.raises(SubscriptionStoppedError):
            await chat.running.subscriptions.rebuild("seen")
        await stops(chat)
        with pytest.raises(SubscriptionStoppedError):
            await subscription.caught_up()
        rows = await chat.running.reader.query(lambda connection: connection.execute(seen()).all())
        assert len(rows) == chat.running.writer.head_position - 1


@pytest.mark.audit
async def test_thousands_of_events_are_caught_up_with_while_writes_go_on(open_host, pytestconfig):
    pages = pytestconfig.getoption("--pages")
    async with open_host() as chat:
        for _ in range(pages):
            await stops(chat, *range(1, PAGE + 1))
    following = FollowingProjection()
    async with open_host(**following.options) as chat:
        async with asyncio.timeout(4 * DEADLINE):
            subscription = chat.running.subscriptions["seen"]
            catching_up = asyncio.create_task(subscription.caught_up(pages * PAGE, timeout=4 * DEADLINE))
            written = 0
            while not catching_up.done():
                await stops(chat)
                written += 1
            await catching_up
            await subscription.caught_up()
        assert written > 1
        assert await following.positions(chat) == all_of(chat)


# Beginning and end


class Unprepared(SeenEvents):
    def prepare(self, connection):
        super().prepare(connection)
        raise ZeroDivisionError("nobody is told of this text")


async def test_a_projection_that_cannot_be_prepared_fails_the_opening_and_leaves_nothing(open_host):
    threads = set(threading.enumerate())
    with pytest.raises(SubscriptionProblemError, match=r"^broken: it could not be prepared: ZeroDivisionError$"):
        async with open_host(projections=[SeenEvents(), Unprepared("broken")]):
            pass
    assert set(threading.enumerate()) <= threads
    async with open_host(projections=[SeenEvents(), SeenEvents("broken")]) as chat:
        await chat.running.subscriptions["broken"].caught_up()


async def test_names_are_given_once(open_host):
    with pytest.raises(SubscriptionProblemError, match=r"^seen: 2 projections or handlers have this name$"):
        async with open_host(projections=[SeenEvents(), SeenEvents()]):
            pass
    with pytest.raises(SubscriptionProblemError, match="empty name"):
        async with open_host(projections=[SeenEvents("")]):
            pass


@pytest.mark.parametrize(("field", "value"), [("since", "yesterday"), ("timeout", 0), ("timeout", -1)])
def test_a_handler_that_cannot_be_is_refused_by_the_name_of_the_field(field, value):
    async def handle(fact):
        pass

    with pytest.raises(ValueError, match=f"^{field}: "):
        Handler(**{"name": "x", "handle": handle, "since": "now", field: value})


async def test_closing_ends_everything_and_repeats_nothing(open_host, following):
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    async with open_host(**following.options) as chat:
        subscription = chat.running.subscriptions[following.name]
        async with writes_going_on(chat):
            await until(lambda: asyncio.sleep(0, subscription.position > 20))
    assert asyncio.all_tasks() == tasks
    assert set(threading.enumerate()) <= threads
    with pytest.raises(SubscriptionStoppedError):
        await subscription.caught_up(subscription.position + 1)
    async with open_host(**following.options) as chat:
        await chat.running.subscriptions[following.name].caught_up()
        done = await following.positions(chat)
        assert done == all_of(chat)


async def test_a_handler_that_is_at_work_may_end_it_within_the_time_of_grace(open_host):
    is_at_work, may_go_on, done = asyncio.Event(), asyncio.Event(), []

    async def handle(fact):
        if fact.envelope.category == "message":
            is_at_work.set()
            await may_go_on.wait()
            done.append(fact.envelope.version)

    handler = Handler(name="works", handle=handle, since="now")
    async with open_host(handlers=[handler], shutdown_grace=DEADLINE) as chat:
        await stops(chat, 1, 2)
        await is_at_work.wait()
        closing = chat.running.subscriptions["works"]._closing
        letting_go = asyncio.create_task(closing.wait())
        letting_go.add_done_callback(lambda _: may_go_on.set())
    assert done == [1]
    async with open_host(handlers=[handler]) as chat:
        await chat.running.subscriptions["works"].caught_up()
    assert done == [1, 2]


async def test_a_handler_that_does_not_end_in_time_is_given_its_event_again(open_host):
    is_at_work, given = asyncio.Event(), []

    async def handle(fact):
        if fact.envelope.category == "message":
            given.append(fact.envelope.version)
        if given == [1, 2]:
            is_at_work.set()
            await asyncio.Event().wait()

    handler = Handler(name="stuck", handle=handle, since="now")
    async with open_host(handlers=[handler], shutdown_grace=0.01) as chat:
        await stops(chat, 1, 2)
        await is_at_work.wait()
    async with open_host(handlers=[handler]) as chat:
        await chat.running.subscriptions["stuck"].caught_up()
    assert given == [1, 2, 2]
