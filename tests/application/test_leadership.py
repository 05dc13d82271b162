"""Work that one of several nodes does at a time, whatever becomes of that node."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import pytest

from chatledger.application.leadership import Leadership, Post, Work
from chatledger.application.ports.leases import Lease
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.system_clock import SystemClock
from tests.application.chat import until
from tests.contracts.adapters import postgres_leases

pytestmark = pytest.mark.postgres

SECONDS, INTERVAL = 1.0, 0.02


@pytest.fixture
async def nodes(shared_database):
    async with postgres_leases(shared_database) as opened:
        yield opened


class Journal(list[str]):
    """What happened, in order."""

    async def work(self, node: str) -> None:
        self.append(f"{node} begins")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)  # work takes a moment to end
            self.append(f"{node} ends")

    async def says(self, *lines: str) -> None:
        async def does() -> bool:
            return list(self) == list(lines)

        with suppress(TimeoutError):
            await until(does)
        assert list(self) == list(lines)


class Node:
    """Does the same as the others, if it falls to it."""

    def __init__(self, leases, name: str, journal: Journal) -> None:
        self.leadership = Leadership(leases, name, SystemClock(), seconds=SECONDS, interval=INTERVAL)
        self.post = self.leadership.post("work")
        self.name = name
        self.journal = journal
        self.stack = AsyncExitStack()

    async def open(self, finish: Work | None = None) -> None:
        self.beating = asyncio.create_task(self.leadership.run())
        await self.stack.enter_async_context(self.post.filled(partial(self.journal.work, self.name), finish=finish))

    async def close(self) -> None:
        await self.stack.aclose()
        self.beating.cancel()

    async def leads(self) -> Lease | None:
        return self.post.fence()


@asynccontextmanager
async def two_nodes(leases, **finish: Callable) -> AsyncIterator[tuple[Node, Node, Journal]]:
    """The first one does the work."""
    journal = Journal()
    first, second = (Node(each, name, journal) for each, name in zip(leases, "ab", strict=True))
    await first.open(**finish)
    await until(first.leads)
    await second.open(**finish)
    yield first, second, journal
    await second.close()
    await first.close()


class Away:
    """A database that does not answer, or says that it cannot."""

    def __init__(self, leases) -> None:
        self._leases = leases
        self.is_away = self.hangs = False

    def __getattr__(self, name: str) -> Callable:
        async def ask(*asked) -> object:
            if self.hangs:
                await asyncio.Event().wait()
            if self.is_away:
                raise StorageUnavailableError("the database is away")
            return await getattr(self._leases, name)(*asked)

        return ask


async def test_one_node_does_it_for_as_long_as_it_can(nodes):
    async with two_nodes(nodes) as (first, second, journal):
        token = first.post.fence().token
        await asyncio.sleep(2 * SECONDS)
        assert (first.post.fence().token, second.post.fence()) == (token, None)
        assert journal == ["a begins"]


async def test_a_node_that_closes_hands_over_at_once_and_not_before_its_work_has_ended(nodes):
    async with two_nodes(nodes) as (first, _, journal):
        lease = first.post.fence()
        await first.close()
        assert await nodes[0].renew([lease], SECONDS) == []
        await journal.says("a begins", "a ends", "b begins")


async def test_a_node_whose_heart_stands_still_has_ended_before_another_begins(nodes):
    async with two_nodes(nodes) as (first, second, journal):
        first.beating.cancel()
        await journal.says("a begins", "a ends", "b begins")
        assert second.post.fence().token > 1


@pytest.mark.parametrize("trouble", ["is_away", "hangs"])
async def test_a_node_that_cannot_reach_the_database_has_ended_before_another_begins(nodes, trouble):
    away = Away(nodes[0])
    async with two_nodes((away, nodes[1])) as (_, _, journal):
        setattr(away, trouble, True)
        await journal.says("a begins", "a ends", "b begins")
        setattr(away, trouble, False)


async def test_a_node_that_was_away_does_it_again_when_the_other_has_gone(nodes):
    away = Away(nodes[0])
    async with two_nodes((away, nodes[1])) as (first, second, journal):
        away.is_away = True
        lost = await until(second.leads)
        await journal.says("a begins", "a ends", "b begins")
        away.is_away = False
        await second.close()
        await journal.says("a begins", "a ends", "b begins", "b ends", "a begins")
        assert first.post.fence().token > lost.token


async def test_a_lease_that_comes_when_its_time_is_nearly_over_is_asked_for_anew(nodes):
    class Slow(Away):
        async def acquire(self, *asked) -> object:
            taken = await self._leases.acquire(*asked)
            await asyncio.sleep(0 if answers else 0.9 * SECONDS)
            answers.append(taken)
            return taken

    answers: list[object] = []
    node = Node(Slow(nodes[0]), "a", Journal())
    await node.open()
    await node.journal.says("a begins")
    assert node.post.fence() in answers[1]
    await node.close()


class StoppedClock(SystemClock):
    """The process is stopped between two looks at it, and goes on long after."""

    def __init__(self, looks_before: int) -> None:
        self._looks_before = looks_before

    def monotonic(self) -> float:
        self._looks_before -= 1
        return 0.0 if self._looks_before >= 0 else 1_000.0


@pytest.mark.parametrize("looks", range(6))
async def test_who_is_stopped_between_two_looks_at_the_clock_notices_that_the_lease_is_over(nodes, looks):
    journal, post = Journal(), Post("work", nodes[0], StoppedClock(looks))
    async with post.filled(partial(journal.work, "a")):
        (lease,) = await nodes[0].acquire(["work"], "a", SECONDS)
        post.take(lease, 0.1)

        async def has_let_go() -> bool:
            return post.fence() is None

        await until(has_let_go)
        assert await nodes[1].acquire(["work"], "b", SECONDS)


async def test_what_another_has_taken_is_left_to_it_at_the_next_beat(nodes):
    node = Node(nodes[0], "a", Journal())
    await node.open()
    await nodes[1].release(await until(node.leads))
    await until(lambda: nodes[1].acquire(["work"], "c", 60))
    await node.journal.says("a begins", "a ends")
    await node.close()


async def test_only_who_does_it_finishes_it_while_the_lease_is_still_its_own(nodes):
    finished = []

    async def finish() -> None:
        await asyncio.sleep(2 * SECONDS)
        finished.append(await nodes[1].acquire(["work"], "c", 10))

    async with two_nodes(nodes, finish=finish) as (first, second, journal):
        await second.close()
        assert finished == []
        await first.close()
        assert finished == [[]]
        assert journal == ["a begins", "a ends"]


async def test_finishing_ends_with_the_lease(nodes):
    async def finish() -> None:
        await asyncio.Event().wait()

    async with two_nodes(nodes, finish=finish) as (first, second, journal):
        await second.close()
        first.beating.cancel()
        await first.close()
        assert journal == ["a begins", "a ends"]


async def test_each_kind_of_work_has_a_lease_of_its_own(nodes):
    journal = Journal()
    first, second = (Node(each, name, journal) for each, name in zip(nodes, "ab", strict=True))
    other = second.leadership.post("other work")
    async with other.filled(partial(journal.work, "b's other")):
        await first.open()
        await journal.says("a begins")
        await second.open()
        await journal.says("a begins", "b's other begins")
    await second.close()
    await first.close()


async def test_one_process_alone_does_it_and_asks_nobody():
    journal = Journal()
    node = Node(None, "a", journal)

    async def finish() -> None:
        journal.append("finished")

    await node.open(finish)
    await journal.says("a begins")
    assert node.post.fence() is None
    await node.close()
    assert journal == ["a begins", "finished", "a ends"]
    assert node.beating.done()


async def test_work_that_fails_is_begun_again_under_the_same_lease(nodes, monkeypatch):
    monkeypatch.setattr("chatledger.application.background.RESTART_PAUSE", 0.01)
    node, begun = Node(nodes[0], "a", Journal()), []

    async def fails() -> None:
        begun.append(node.post.fence())
        raise ValueError

    async with node.post.filled(fails):
        beating = asyncio.create_task(node.leadership.run())
        await until(lambda: asyncio.sleep(0, len(begun) > 2))
        beating.cancel()
    assert len(set(begun)) == 1
