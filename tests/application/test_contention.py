"""Many hands on one message at once, and hand-ins that nobody waits for any more."""

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest

from chatledger.application.context import SYSTEM, Context
from chatledger.application.errors import UnauthorizedError
from chatledger.application.ledger.hand_ins import VersionConflictError
from chatledger.application.ports.generator import Finish, Retrieved, Text
from chatledger.application.ports.storage import StorageUnavailableError, StoreBusyError
from chatledger.domain.events import MessageStopped
from chatledger.domain.message import Message
from chatledger.domain.values import Resource
from tests.application.chat import text_of, until, words
from tests.support.databases import ON_SQLITE


def saying(chat, generate):
    """The app's generator says this instead."""
    chat.running.worker._generators["scripted"].generate = generate


def lost_race():
    """What the writer gives where somebody else was faster."""
    lost = asyncio.get_running_loop().create_future()
    lost.set_exception(VersionConflictError("somebody else was faster"))
    return lost


@asynccontextmanager
async def one_group(chat):
    """What is handed in meanwhile goes into one commit; gives what waits until so many have handed in."""
    is_busy, writer_may_go_on = threading.Event(), threading.Event()

    def keep_busy():
        is_busy.set()
        writer_may_go_on.wait(10)

    busy = asyncio.create_task(chat.running.writer.run_alone(keep_busy))
    await asyncio.to_thread(is_busy.wait, 10)
    size = chat.running.writer._inbox.qsize
    yield lambda number: until(lambda: asyncio.sleep(0, size() == number))
    writer_may_go_on.set()
    await busy


async def says_when_told(chat, *texts):
    """A message whose generator says each of these when it is told, and then nothing; and what tells it."""
    told = asyncio.Semaphore(0)

    async def generate(request):
        for text in texts:
            await told.acquire()
            yield Text(text)
        await told.acquire()

    saying(chat, generate)
    sent = await chat.send()
    await until(lambda: asyncio.sleep(0, sent.message_id in chat.running.worker._running))
    return sent, told.release


@ON_SQLITE
@pytest.mark.parametrize("first", ["stop", "text"])
async def test_neither_a_stop_nor_text_costs_the_other_a_commit_of_its_own(open_chat, first):
    async with open_chat() as chat:
        sent, say = await says_when_told(chat, "x")
        async with one_group(chat) as handed_in:
            if first == "text":
                say()
                await handed_in(1)
            stopping = asyncio.create_task(chat.application.stopping.stop(chat.caller(), sent.task_id))
            await handed_in(1 if first == "stop" else 2)
            if first == "stop":
                say()
                await handed_in(2)
        await stopping
        seen = await chat.to_the_end(sent)
        commits = [
            {type(envelope.body).__name__ for envelope in seen if envelope.recorded_at == at}
            for at in sorted({envelope.recorded_at for envelope in seen})
        ]
        assert text_of(seen) == "x"
        if first == "stop":
            assert commits[-2:] == [{"StopRequested"}, {"AnswerChunkAppended", "MessageStopped"}]
        else:
            assert commits[-2:] == [{"AnswerChunkAppended", "StopRequested"}, {"MessageStopped"}]


@ON_SQLITE
@pytest.mark.parametrize("lost", [0, 1])
async def test_text_that_lost_to_a_stop_is_there_once_however_often_the_end_loses(open_chat, lost):
    async with open_chat() as chat:
        sent, say = await says_when_told(chat, "x")
        attempt, hand_in, ends = chat.running.worker._running[sent.message_id], chat.running.writer.hand_in, 0

        def losing(member):
            nonlocal ends
            if any(isinstance(event.recorded.body, MessageStopped) for event in member.events):
                ends += 1
                if ends <= lost:
                    return lost_race()
            return hand_in(member)

        async with one_group(chat) as handed_in:
            stopping = asyncio.create_task(chat.application.stopping.stop(chat.caller(), sent.task_id))
            await handed_in(1)
            say()
            await handed_in(2)
            chat.running.writer.hand_in = losing
            attempt.leave()
            await until(lambda: asyncio.sleep(0, attempt._settled))
        await stopping
        seen = await chat.to_the_end(sent)
        view = await chat.view(sent.message_id)
        assert (view.stopped_by, view.answer, text_of(seen), ends) == ("user", "x", "x", lost + 1)


@ON_SQLITE
@pytest.mark.parametrize("flushes", [False, True], ids=["at rest", "with text in its commit"])
async def test_a_stop_of_this_process_has_its_attempt_read_nothing(open_chat, flushes):
    async with open_chat() as chat:
        sent, say = await says_when_told(chat, "x", "y")
        batches = chat.batches(sent)
        say()
        await chat.first_text(batches)
        load, loads = chat.running.ledger.load, []

        async def counted(kind, aggregate_id, **options):
            loads.append(aggregate_id)
            return await load(kind, aggregate_id, **options)

        chat.running.ledger.load = counted
        async with one_group(chat) as handed_in:
            if flushes:
                say()
                await handed_in(1)
            stopping = asyncio.create_task(chat.application.stopping.stop(chat.caller(), sent.task_id))
            await handed_in(2 if flushes else 1)
        await stopping
        assert [batch async for batch in batches]
        assert (await chat.view(sent.message_id)).answer == ("xy" if flushes else "x")
        assert loads == [sent.message_id]  # by the request


@pytest.mark.parametrize("between", ["text", "text and a rating"])
async def test_a_stop_that_was_decided_before_holds_after_text_and_after_nothing_else(open_chat, between):
    async with open_chat() as chat:
        sent, say = await says_when_told(chat, "x")
        known = await chat.running.ledger.load(Message, sent.message_id)
        batches = chat.batches(sent)
        say()
        await chat.first_text(batches)
        if "rating" in between:
            await chat.application.rating.rate(chat.caller(), sent.message_id, "like", "")
        known.aggregate.request_stop("user")
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
        if between == "text":
            (requested,) = await chat.running.ledger.hand_in(known, context=context)
            before = [
                envelope for envelope in await chat.events(sent.message_id) if envelope.version < requested.version
            ]
            assert text_of(before) == "x"
        else:
            with pytest.raises(VersionConflictError):
                await chat.running.ledger.hand_in(known, context=context)
            await chat.application.stopping.stop(chat.caller(), sent.task_id)
        assert [batch async for batch in batches]
        assert (await chat.view(sent.message_id)).state == "stopped"


async def test_a_stop_that_comes_between_leaves_nothing_in_the_row_that_no_event_holds(open_chat):
    async with open_chat() as chat:
        go_on = asyncio.Event()

        async def generate(request):
            await go_on.wait()
            yield Retrieved((Resource(position=1, content="never on the ledger"),))
            yield Text("x")

        saying(chat, generate)
        sent = await chat.send()
        await until(lambda: asyncio.sleep(0, sent.message_id in chat.running.worker._running))
        async with one_group(chat) as handed_in:
            stopping = asyncio.create_task(chat.application.stopping.stop(chat.caller(), sent.task_id))
            await handed_in(1)
            go_on.set()
            await handed_in(2)
        await stopping
        await chat.to_the_end(sent)
        on_ledger = (await chat.running.ledger.load(Message, sent.message_id)).aggregate
        view = await chat.view(sent.message_id)
        assert (view.state, view.resources, view.answer) == ("stopped", on_ledger.resources, on_ledger.answer)


@pytest.mark.parametrize("races", [1, 9, 10, 11, 25])
async def test_text_survives_any_number_of_lost_races(open_chat, races):
    async with open_chat() as chat:
        hand_in, left = chat.running.writer.hand_in, races

        def losing(member):
            nonlocal left
            if left and len(member.events) == 1 and hasattr(member.events[0].recorded.body, "text"):
                left -= 1
                return lost_race()
            return hand_in(member)

        chat.running.writer.hand_in = losing
        sent = await chat.send("tokens=30 interval_ms=5 vary_by_attempt=true")
        seen = await chat.to_the_end(sent)
        assert text_of(seen) == (await chat.view(sent.message_id)).answer == words(1, 30)
        assert left == 0


async def test_forty_who_rate_at_once_cost_the_answer_nothing(chat):
    sent = await chat.send("tokens=40 interval_ms=10 vary_by_attempt=true")
    batches = chat.batches(sent)
    seen = await chat.first_text(batches)
    is_over = False

    async def rate(number):
        while not is_over:
            try:
                await chat.application.rating.rate(chat.caller(), sent.message_id, "like", str(number))
            except VersionConflictError:
                continue

    raters = [asyncio.create_task(rate(number)) for number in range(40)]
    async for batch in batches:
        seen += batch
    is_over = True
    await asyncio.gather(*raters)
    assert text_of(seen) == (await chat.view(sent.message_id)).answer == words(1, 40)


@pytest.mark.parametrize("flush_interval_ms", [0, 50])
async def test_a_stop_is_heard_however_fast_the_worker_is(open_chat, flush_interval_ms):
    async with open_chat(flush_interval_ms=flush_interval_ms) as chat:
        sent = await chat.send("tokens=100000 interval_ms=1")
        batches = chat.batches(sent)
        await chat.first_text(batches)
        await chat.application.stopping.stop(chat.caller(), sent.task_id)
        assert [batch async for batch in batches]
        assert (await chat.view(sent.message_id)).state == "stopped"


async def test_a_burst_that_fills_the_bound_is_delivered_while_the_provider_is_silent(open_chat):
    async with open_chat() as chat:
        go_on = asyncio.Event()

        async def generate(request):
            yield Text("first ")
            await until(lambda: asyncio.sleep(0, chat.running.worker._running[request.message_id].has_answered))
            yield Text("second ")
            yield Text("x" * 70_000)
            await go_on.wait()
            yield Finish("stop")

        saying(chat, generate)
        sent = await chat.send()
        seen = []
        async for batch in chat.batches(sent):
            seen += batch
            if len(text_of(seen)) > 70_000:
                go_on.set()
        assert go_on.is_set()


async def test_a_lease_given_back_late_is_not_that_of_the_next_attempt(quick_leases):
    async with quick_leases() as chat:
        worker, ledger = chat.running.worker, chat.running.ledger
        sent = await chat.send("tokens=100 interval_ms=10 vary_by_attempt=true")
        await chat.first_text(chat.batches(sent))
        keep, is_in_trouble = ledger.keep, False

        async def keep_if_possible(*changes):
            if is_in_trouble:
                raise StorageUnavailableError("the disk is full")
            await keep(*changes)

        ledger.keep = keep_if_possible
        worker._running[sent.message_id].fail(StorageUnavailableError("the disk is full"))
        await until(lambda: asyncio.sleep(0, worker._orphans))
        is_in_trouble = True
        await until(lambda: asyncio.sleep(0, sent.message_id in worker._running))
        is_in_trouble = False

        async def has_ended():
            return (await chat.view(sent.message_id)).ended_at

        await until(has_ended)
        assert (await chat.names(sent.message_id)).count("GenerationStarted") == 2


async def test_a_task_that_is_being_opened_is_handed_over_too(open_chat):
    async with open_chat(lease=3, heartbeat=1) as chat:
        worker, is_opening = chat.running.worker, asyncio.Event()
        real_key = worker._key

        async def slow_key(staged):
            is_opening.set()
            await until(lambda: asyncio.sleep(0, worker._is_leaving))
            return await real_key(staged)

        worker._key = slow_key
        sent = await chat.send("tokens=1000 interval_ms=50")
        sent.follower.close()
        await is_opening.wait()
    async with open_chat(with_worker=False) as chat:
        assert (await chat.names(sent.message_id))[-1] == "GenerationRequeued"


async def test_a_key_that_is_revoked_while_it_is_looked_up_opens_nothing_after(chat):
    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    old = await chat.application.apps.rotate_key(chat.app.app_id, context)
    credentials = chat.application.credentials
    find, was_found, go_on = credentials._views.app, asyncio.Event(), asyncio.Event()

    async def slow(app_id):
        found = await find(app_id)
        was_found.set()
        await go_on.wait()
        return found

    credentials._views.app = slow
    looking = asyncio.create_task(credentials.app(old))
    await was_found.wait()
    await chat.application.apps.rotate_key(chat.app.app_id, context)
    go_on.set()
    await looking
    credentials._views.app = find
    with pytest.raises(UnauthorizedError):
        await credentials.app(old)


async def test_a_new_key_does_not_wait_for_the_disk(chat):
    keyring = chat.running.ledger.keyring
    is_writing, may_go_on = threading.Event(), threading.Event()

    def write_slowly():
        with keyring.store.write():
            is_writing.set()
            may_go_on.wait(10)

    writing = asyncio.create_task(asyncio.to_thread(write_slowly))
    await asyncio.to_thread(is_writing.wait, 10)
    assert keyring.cached(keyring.new_key(None).key_id) is not None
    assert not may_go_on.is_set()
    may_go_on.set()
    await writing


async def test_a_data_folder_serves_one_ledger(open_chat, new_ledger, tmp_path):
    async with open_chat():
        with new_ledger() as another, pytest.raises(StoreBusyError):
            async with open_chat(database_url=another or f"sqlite:///{tmp_path}/another.db"):
                pass
