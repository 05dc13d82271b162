"""However the block ends, nothing of chatledger is left in the host's process, and the store is free."""

import asyncio
import gc
import logging
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import uvloop

from chatledger import (
    AnswerPendingError,
    ClosedError,
    Handler,
    MasterKeyError,
    StoreBusyError,
    Text,
)
from tests.embedding.generators import Counting
from tests.embedding.hosting import DEADLINE, ENDLESS, LOOPS_OWN, Held, first_text, hosted, new_app
from tests.support.host_tables import SeenEvents
from tests.support.server import until


class BodyError(Exception):
    """What the body of a block may raise."""


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a host on a loop of its own, in a thread of its own, and let it end within the deadline."""
    factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    async def bounded(host):
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix=LOOPS_OWN))
        async with asyncio.timeout(DEADLINE):
            return await host()

    def work(host):
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(bounded(host))

    def run_host(host):
        with ThreadPoolExecutor(1, thread_name_prefix="host") as thread:
            return thread.submit(work, host).result(2 * DEADLINE)

    return run_host


async def idle(_fact):
    pass


async def use(ledger):
    """A bit of everything: an answer that has ended, one that has not, and one that somebody waits for."""
    app = await new_app(ledger, tokens=3)
    await ledger.messages.ask(app, "hello", user="ada")
    endless = await new_app(ledger, **ENDLESS)
    sent = await ledger.messages.send(endless, "hello", user="ada")
    await first_text(ledger, sent.message_id)
    return sent


def test_nothing_is_left_after_the_block(tmp_path, run, database_url):
    async def host():
        before = Held.now()
        following = {"projections": [SeenEvents()], "handlers": [Handler(name="idle", handle=idle, since="first")]}
        async with hosted(tmp_path, database_url=database_url, durability="relaxed", **following) as ledger:
            await use(ledger)
            assert Held.now() != before
        return before, Held.now()

    before, after = run(host)
    assert after == before


def test_nothing_is_left_where_the_body_raises(tmp_path, run):
    async def host():
        async def embed():
            async with hosted(tmp_path) as ledger:
                await use(ledger)
                raise BodyError

        before = Held.now()
        with pytest.raises(BodyError):
            await embed()
        return before, Held.now()

    before, after = run(host)
    assert after == before


@pytest.mark.parametrize("times", [1, 3])
def test_nothing_is_left_where_the_body_is_cancelled(tmp_path, run, times):
    """Nor where an impatient host cancels again while it closes."""

    async def host():
        before = Held.now()
        used = asyncio.Event()

        async def embed():
            async with hosted(tmp_path, shutdown_grace=0.2) as ledger:
                await use(ledger)
                used.set()
                await asyncio.Event().wait()

        embedding = asyncio.create_task(embed())
        await used.wait()
        for _ in range(times):
            embedding.cancel()
            await asyncio.sleep(0.01)
        await asyncio.wait([embedding])
        assert embedding.cancelled()
        return before, Held.now()

    before, after = run(host)
    assert after == before


@pytest.mark.parametrize("turns", [0, 1, 3, 10, 30])
def test_nothing_is_left_where_the_opening_is_cancelled(tmp_path, run, turns):
    async def host():
        before = Held.now()

        async def embed():
            async with hosted(tmp_path):
                await asyncio.Event().wait()

        embedding = asyncio.create_task(embed())
        for _ in range(turns):
            await asyncio.sleep(0.001)
        embedding.cancel()
        await asyncio.wait([embedding])
        assert embedding.cancelled()
        return before, Held.now()

    before, after = run(host)
    assert after == before


def test_nothing_is_left_where_the_opening_is_refused(tmp_path, run):
    async def host():
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "master.key").write_bytes(b"too short")
        before = Held.now()
        generator = Counting()
        with pytest.raises(MasterKeyError):
            async with hosted(tmp_path, generators=[generator]):
                pass
        assert generator.closed == 1
        return before, Held.now()

    before, after = run(host)
    assert after == before


async def test_the_end_of_a_timeout_is_told_as_such(tmp_path):
    async def embed():
        async with asyncio.timeout(0.5), hosted(tmp_path) as ledger:
            await use(ledger)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await embed()


async def test_the_host_is_left_as_it_was(tmp_path):
    """No signal handler, no logging, no garbage collection, no hook of a chatledger's."""

    def state():
        root, ours = logging.getLogger(), logging.getLogger("chatledger")
        return (
            [signal.getsignal(number) for number in signal.valid_signals()],
            [root.level, list(root.handlers), ours.level, list(ours.handlers), ours.propagate],
            [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()],
            [sys.excepthook, threading.excepthook, asyncio.get_running_loop().get_exception_handler()],
            asyncio.get_event_loop_policy(),
        )

    before = state()
    async with hosted(tmp_path) as ledger:
        await use(ledger)
        assert state() == before
    assert state() == before


# What was running


async def test_a_generation_may_end_within_the_grace(tmp_path):
    async with hosted(tmp_path, shutdown_grace=DEADLINE) as ledger:
        app = await new_app(ledger, tokens=20, interval_ms=10)
        sent = await ledger.messages.send(app, "hello", user="ada")
        await first_text(ledger, sent.message_id)
    async with hosted(tmp_path) as ledger:
        task = await ledger.tasks.get(sent.task_id)
        assert (task.state, task.attempt) == ("completed", 1)


async def test_a_generation_that_does_not_end_goes_on_at_the_next_opening(tmp_path):
    async with hosted(tmp_path) as ledger:
        app = await new_app(ledger, **ENDLESS)
        sent = await ledger.messages.send(app, "hello", user="ada")
        await first_text(ledger, sent.message_id)
    async with hosted(tmp_path) as ledger:
        events = await ledger.messages.events(sent.message_id, limit=100)
        assert [type(fact.envelope.body).__name__ for fact in events.items][:4] == [
            "MessageCreated",
            "GenerationStarted",
            "AnswerChunkAppended",
            "GenerationRequeued",
        ]
        await first_text(ledger, sent.message_id)

        again = await asyncio.wait_for(anext(ledger.messages.follow(sent.message_id, after=4)), DEADLINE)
        assert again.body.attempt == 2
        await ledger.messages.stop(app, sent.message_id, user="ada")


async def test_what_is_asked_and_waits_for_its_turn_is_answered_within_the_grace(tmp_path):
    async with hosted(tmp_path, shutdown_grace=DEADLINE) as ledger:
        app = await new_app(ledger, tokens=20, interval_ms=10)
        sent = await ledger.messages.send(app, "hello", user="ada")
        place = {"conversation_id": sent.conversation_id, "on_busy": "queue"}
        asking = asyncio.create_task(ledger.messages.ask(app, "and now?", user="ada", **place))

        async def waits():
            return len((await ledger.messages.history(app, sent.conversation_id, user="ada")).items) == 2

        await until(waits)
    assert (await asyncio.wait_for(asking, DEADLINE)).end.usage.completion_tokens == 20


class Stubborn(Counting):
    """Does not let itself be cancelled, until it is told."""

    name = "stubborn"

    def __init__(self):
        super().__init__()
        self.is_released = asyncio.Event()

    async def generate(self, request):
        yield Text("I stay. ")
        while not self.is_released.is_set():
            with suppress(asyncio.CancelledError):
                await self.is_released.wait()


async def test_a_generator_that_ignores_its_cancellation_holds_up_nobody(tmp_path, caplog):
    generator = Stubborn()
    try:
        async with (
            asyncio.timeout(DEADLINE),
            hosted(tmp_path, generators=[generator], lease=0.5, heartbeat=0.1) as ledger,
        ):
            app = await new_app(ledger, generator="stubborn")
            sent = await ledger.messages.send(app, "hello", user="ada")
            await first_text(ledger, sent.message_id)
        assert "1 generations are left to recovery" in caplog.text
    finally:
        generator.is_released.set()
    async with hosted(tmp_path, generators=[Counting()]) as ledger:
        assert "MessageCompleted" not in await recorded(ledger, sent)


class Once(Counting):
    """May not be asked twice, and never ends by itself."""

    name = "once"
    repeatable = False

    async def generate(self, request):
        yield Text("I have begun. ")
        await asyncio.Event().wait()


async def test_what_a_generator_said_that_may_not_be_asked_twice_is_kept(tmp_path):
    async with hosted(tmp_path, generators=[Once()]) as ledger:
        app = await new_app(ledger, generator="once")
        sent = await ledger.messages.send(app, "hello", user="ada")
        await first_text(ledger, sent.message_id)
    async with hosted(tmp_path, generators=[Once()]) as ledger:
        assert (await ledger.tasks.get(sent.task_id)).state == "errored"
        assert (await ledger.messages.get(sent.message_id)).message.answer == "I have begun. "


async def recorded(ledger, sent):
    events = await ledger.messages.events(sent.message_id, limit=100)
    return [type(fact.envelope.body).__name__ for fact in events.items]


async def both_have_begun(ledger, app):
    conversations = (await ledger.conversations.list(app, user="ada")).items
    pages = [await ledger.messages.history(app, entry.conversation_id) for entry in conversations]
    return len(pages) == 2 and all(message.answer for page in pages for message in page.items)


async def test_who_follows_is_told_that_it_is_closed(tmp_path):
    async with hosted(tmp_path) as ledger:
        app = await new_app(ledger, **ENDLESS)
        sent = await ledger.messages.send(app, "hello", user="ada")
        seen, has_seen = [], asyncio.Event()

        async def follow():
            async for event in ledger.messages.follow(sent.message_id):
                seen.append(event)
                has_seen.set()

        following = asyncio.create_task(follow())
        waiting = asyncio.create_task(ledger.messages.ask(app, "hello", user="ada"))
        await has_seen.wait()
        await until(lambda: both_have_begun(ledger, app))
    with pytest.raises(ClosedError):
        await asyncio.wait_for(following, DEADLINE)
    with pytest.raises(AnswerPendingError) as pending:
        await asyncio.wait_for(waiting, DEADLINE)
    async with hosted(tmp_path) as ledger:
        detail = await ledger.messages.get(pending.value.message_id)
        assert detail.message.task_id == pending.value.task_id
        await ledger.messages.stop(app, sent.message_id)
        await ledger.messages.stop(app, pending.value.message_id)


async def test_who_follows_sees_the_end_that_came_with_the_closing(tmp_path):
    """What was committed in the grace is told before the stream is closed."""
    async with hosted(tmp_path, shutdown_grace=DEADLINE) as ledger:
        app = await new_app(ledger, tokens=20, interval_ms=10)
        sent = await ledger.messages.send(app, "hello", user="ada")
        asking = asyncio.create_task(ledger.messages.ask(app, "hello", user="ada"))

        async def follow():
            return [type(event.body).__name__ async for event in ledger.messages.follow(sent.message_id)]

        following = asyncio.create_task(follow())
        await until(lambda: both_have_begun(ledger, app))
    assert (await asyncio.wait_for(following, DEADLINE))[-1] == "MessageCompleted"
    assert (await asyncio.wait_for(asking, DEADLINE)).end.usage.completion_tokens == 20


async def test_what_is_closed_takes_nothing_more(tmp_path):
    async with hosted(tmp_path) as ledger:
        app = await new_app(ledger, tokens=3)
        sent = await ledger.messages.send(app, "hello", user="ada")
    for call in (
        ledger.apps.list(),
        ledger.apps.get(app),
        ledger.messages.send(app, "hello"),
        ledger.messages.ask(app, "hello"),
        ledger.messages.get(sent.message_id),
        ledger.messages.history(app, sent.conversation_id),
        ledger.messages.rate(app, sent.message_id, "like", user="ada"),
        ledger.completions.ask(app),
        ledger.conversations.list(app),
        ledger.tasks.stop(app, sent.task_id),
        ledger.operators.issue("somebody", ["audit"]),
        anext(ledger.messages.follow(sent.message_id)),
    ):
        with pytest.raises(ClosedError):
            await call


# Several of them


async def test_several_are_open_in_one_process(tmp_path):
    async with hosted(tmp_path / "one") as one, hosted(tmp_path / "two") as two:
        apps = [await new_app(ledger, text=text) for ledger, text in ((one, "first"), (two, "second"))]
        answers = await asyncio.gather(
            one.messages.ask(apps[0], "hello", user="ada"), two.messages.ask(apps[1], "hello", user="ada")
        )
        assert [answer.text for answer in answers] == ["first", "second"]
        assert [len(await ledger.apps.list()) for ledger in (one, two)] == [1, 1]


async def test_one_store_is_open_once(tmp_path):
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    async with hosted(tmp_path, database_url=elsewhere):
        with pytest.raises(StoreBusyError):
            async with hosted(tmp_path / "other", database_url=elsewhere):
                pass
        with pytest.raises(StoreBusyError):
            async with hosted(tmp_path, database_url=f"sqlite:///{tmp_path}/another.db"):
                pass
    async with hosted(tmp_path / "other", database_url=f"sqlite:///{tmp_path}/another.db"):
        pass


@pytest.mark.postgres
async def test_one_database_is_open_once(tmp_path, postgres_url):
    settings = {"database_url": postgres_url, "durability": "relaxed"}
    async with hosted(tmp_path / "one", **settings) as ledger:
        with pytest.raises(StoreBusyError):
            async with hosted(tmp_path / "two", **settings):
                pass
        await use(ledger)
    async with hosted(tmp_path / "one", **settings) as ledger:
        assert len(await ledger.apps.list()) == 2
