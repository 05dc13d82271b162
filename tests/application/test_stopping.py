"""Stopping: by whom, by the clock, and what is kept, whatever becomes of the worker and of the signals."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from chatledger.application.context import SYSTEM, Context
from chatledger.application.generation.dispatch import Sweeper
from chatledger.application.generation.worker import Worker
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ports.generator import Finish, GeneratorError, Part, Text
from chatledger.application.ports.storage import Update, Upsert
from chatledger.domain.events import MessageStopped
from chatledger.domain.message import Message
from tests.application.chat import Chat, text_of, until
from tests.support.databases import connection_to

ENDLESS = "tokens=2 interval_ms=3600000"


async def leave_half_an_answer(chat: Chat, text: str = "so ") -> Any:
    """A message whose worker died in the middle of its first attempt."""
    sent = await chat.send(ENDLESS)

    def half_an_answer(staged: Any) -> None:
        staged.aggregate.append_chunk(staged.aggregate.start_attempt("dead"), text)

    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    await chat.running.ledger.decide(Message, sent.message_id, half_an_answer, context)
    sent.follower.close()
    return sent


async def has_ended(chat: Chat, sent: Any) -> bool:
    return (await chat.view(sent.message_id)).ended_at is not None


async def end_of(chat: Chat, sent: Any) -> MessageStopped:
    return (await chat.events(sent.message_id))[-1].body


# By whom


@pytest.mark.parametrize("by", ["user", "interruption", "disconnect", "timeout"])
@pytest.mark.parametrize("hears", [True, False], ids=["signalled", "the signal is lost"])
async def test_whoever_asked_for_the_end_stands_in_it(open_chat, monkeypatch, by, hears):
    if not hears:
        monkeypatch.setattr(Worker, "committed", lambda *_: None)
    async with open_chat(heartbeat=0.1) as chat:
        sent = await chat.send(ENDLESS)
        batches = chat.batches(sent)
        seen = await chat.first_text(batches)
        await chat.application.stopping.stop_for(by, sent.message_id)
        async for batch in batches:
            seen += batch
        view = await chat.view(sent.message_id)
        assert (view.state, view.stopped_by, view.answer) == ("stopped", by, "t0 ")
        assert text_of(seen) == view.answer


async def test_the_first_who_asks_is_heard_however_many_ask(chat):
    sent = await chat.send(ENDLESS)
    batches = chat.batches(sent)
    await chat.first_text(batches)
    stopping = chat.application.stopping
    await stopping.stop_for("disconnect", sent.message_id)
    await asyncio.gather(*(stopping.stop(chat.caller(), sent.task_id) for _ in range(50)))
    async for _ in batches:
        pass
    names = await chat.names(sent.message_id)
    assert (names.count("StopRequested"), names.count("MessageStopped")) == (1, 1)
    assert (await end_of(chat, sent)).by == "disconnect"


async def test_many_stops_at_once_are_one(chat):
    sent = await chat.send("tokens=100000 interval_ms=1")
    batches = chat.batches(sent)
    seen = await chat.first_text(batches)
    await asyncio.gather(*(chat.application.stopping.stop(chat.caller(), sent.task_id) for _ in range(50)))
    async for batch in batches:
        seen += batch
    names = await chat.names(sent.message_id)
    assert (names.count("StopRequested"), names[-1]) == (1, "MessageStopped")
    assert text_of(seen) == (await chat.view(sent.message_id)).answer


class Clinging:
    """Calls its own end a failure when it is told to end."""

    name = "clinging"
    repeatable = False

    def check_settings(self, settings: Any) -> None: ...

    def settings_for(self, query: str, settings: Any) -> Any:
        return settings

    async def generate(self, request: Any) -> AsyncGenerator[Part, None]:
        yield Text("so ")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise GeneratorError("transient", "the connection is gone") from None
        yield Finish("stop")

    async def close(self) -> None: ...


class Deaf(Clinging):
    """Goes on with its answer when it is told to end."""

    name = "deaf"

    async def generate(self, request: Any) -> AsyncGenerator[Part, None]:
        yield Text("so ")
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        yield Text("be ")
        yield Text("it")
        yield Finish("stop")


@pytest.mark.parametrize("generator", [Clinging(), Deaf()], ids=["it fails", "it goes on"])
async def test_whatever_a_stopped_generator_does_the_answer_is_what_was_said_before(open_chat, generator):
    async with open_chat(generators=[generator]) as chat:
        chat.app = await chat.new_app(generator=generator.name)
        sent = await chat.send()
        batches = chat.batches(sent)
        await chat.first_text(batches)
        await chat.application.stopping.stop(chat.caller(), sent.task_id)
        async for _ in batches:
            pass
        view = await chat.view(sent.message_id)
        assert (view.state, view.stopped_by, view.answer) == ("stopped", "user", "so ")


# Without a worker


async def test_a_stop_of_what_a_dead_worker_left_ends_it_then_and_there(open_chat):
    async with open_chat(with_worker=False) as chat:
        sent = await leave_half_an_answer(chat)
        await chat.application.stopping.stop(chat.caller(), sent.task_id)
        view = await chat.view(sent.message_id)
        assert (view.state, view.stopped_by, view.answer, view.attempt) == ("stopped", "user", "so ", 1)


async def test_a_stop_is_left_to_a_worker_whose_lease_lives_and_ends_with_it(open_chat):
    async with open_chat(with_worker=False) as chat:
        sent = await leave_half_an_answer(chat)
        later = to_microseconds(chat.application.clock.now()) + 60_000_000
        lease = {"message_id": sent.message_id, "worker": "dead", "attempt": 1, "expires_at": later}
        await chat.running.ledger.keep(Upsert("leases", {"message_id": sent.message_id}, lease, lease))
        stop = partial(chat.application.stopping.stop, chat.caller(), sent.task_id)
        await stop()
        assert (await chat.view(sent.message_id)).state == "stopping"
        await chat.running.ledger.keep(Update("leases", {"message_id": sent.message_id}, {"expires_at": 0}))
        await stop()
        assert (await chat.names(sent.message_id))[-2:] == ["StopRequested", "MessageStopped"]


async def test_a_stop_that_a_dead_worker_did_not_live_to_hear_is_heard_by_the_next_one(quick_leases):
    async with quick_leases(with_worker=False) as chat:
        sent = await leave_half_an_answer(chat)
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
        ask = lambda staged: staged.aggregate.request_stop("interruption")  # noqa: E731
        await chat.running.ledger.decide(Message, sent.message_id, ask, context)
    async with quick_leases() as chat:
        await until(partial(has_ended, chat, sent))
        view = await chat.view(sent.message_id)
        assert (view.state, view.stopped_by, view.answer, view.attempt) == ("stopped", "interruption", "so ", 1)


# By the clock


async def test_what_waits_for_a_later_attempt_ends_at_the_limit(open_chat):
    delays = {"first_retry_delay": 3600, "longest_retry_delay": 3600}
    async with open_chat(generation_timeout=0.3, heartbeat=0.1, **delays) as chat:
        sent = await chat.send("fail_as=transient")
        seen = [type(envelope.body).__name__ for envelope in await chat.to_the_end(sent)]
        assert seen[1:] == ["GenerationStarted", "GenerationRequeued", "StopRequested", "MessageStopped"]
        assert (await chat.view(sent.message_id)).stopped_by == "timeout"


async def pass_over(*_: Any) -> None: ...


@pytest.mark.parametrize("who", ["sweeper", "worker"])
async def test_what_a_dead_worker_left_ends_at_the_limit_with_its_text(open_chat, monkeypatch, who):
    if who == "worker":
        monkeypatch.setattr(Sweeper, "_time_out", pass_over)
    async with open_chat(with_worker=False) as chat:
        sent = await leave_half_an_answer(chat)
    async with open_chat(generation_timeout=0.001) as chat:
        await until(partial(has_ended, chat, sent))
        view = await chat.view(sent.message_id)
        assert (view.state, view.stopped_by, view.answer, view.attempt) == ("stopped", "timeout", "so ", 1)


async def test_the_limit_counts_from_the_first_attempt_on(open_chat, tmp_path, database_url):
    """A later attempt has what the earlier ones left: here a second of an hour."""
    async with open_chat(with_worker=False) as chat:
        sent = await leave_half_an_answer(chat)
    with connection_to(database_url or f"sqlite:///{tmp_path / 'data' / 'ledger.db'}") as connection:
        connection.exec_driver_sql("UPDATE messages SET started_at = started_at - 3599000000")
    async with open_chat(generation_timeout=3600) as chat:
        await until(partial(has_ended, chat, sent))
        view = await chat.view(sent.message_id)
        assert (view.state, view.stopped_by, view.answer, view.attempt) == ("stopped", "timeout", "t0 ", 2)


async def test_what_has_not_begun_is_not_out_of_time(open_chat):
    async with open_chat(generation_timeout=0.3, heartbeat=0.1, worker_concurrency=1) as chat:
        first, second = [await chat.send("tokens=1000 interval_ms=1") for _ in range(2)]
        third = await chat.send("tokens=3")
        for sent in (first, second, third):
            await chat.to_the_end(sent)
        assert [(await chat.view(sent.message_id)).state for sent in (first, third)] == ["stopped", "completed"]
