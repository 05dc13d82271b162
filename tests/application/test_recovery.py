"""Dead workers, slow workers, and workers that were told to go."""

import sqlite3

import pytest

from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.domain.events import AnswerChunkAppended, GenerationRequeued, GenerationStarted
from chatledger.domain.message import Message
from tests.application.chat import text_of, until, words

SLOW = "tokens=100 interval_ms=5 vary_by_attempt=true"


async def test_a_newer_attempt_fences_the_older_out_and_nothing_is_spliced(quick_leases):
    async with quick_leases() as chat:
        sent = await chat.send(SLOW)
        batches = chat.batches(sent)
        seen = await chat.first_text(batches)
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
        await chat.running.ledger.decide(
            Message, sent.message_id, lambda staged: staged.aggregate.start_attempt("another"), context
        )
        async for batch in batches:
            seen += batch
        view = await chat.view(sent.message_id)
        attempt = 0
        for envelope in seen:
            if isinstance(envelope.body, GenerationStarted):
                attempt = envelope.body.attempt
            if isinstance(envelope.body, AnswerChunkAppended):
                assert envelope.body.attempt == attempt
        assert view.attempt > 2
        assert text_of(seen) == view.answer == words(view.attempt, 100)


async def test_a_dead_workers_message_is_taken_over_when_its_lease_has_run_out(quick_leases):
    async with quick_leases(with_worker=False) as chat:
        sent = await chat.send(SLOW)
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())

        def half_an_answer(staged):
            attempt = staged.aggregate.start_attempt("dead")
            staged.aggregate.append_chunk(attempt, "a1t0 a1t1 ")

        await chat.running.ledger.decide(Message, sent.message_id, half_an_answer, context)
        sent.follower.close()
    async with quick_leases() as chat:
        with chat.application.following.follow(sent.message_id) as follower:
            seen = [envelope async for batch in follower.batches() for envelope in batch]
        assert text_of(seen) == (await chat.view(sent.message_id)).answer == words(2, 100)


async def test_nobody_is_offered_a_task_whose_lease_lives(quick_leases):
    async with quick_leases() as chat:
        sent = await chat.send(SLOW)
        await chat.first_text(chat.batches(sent))
        now = to_microseconds(chat.application.clock.now())
        assert await chat.application.views.unclaimed(now, 10) == []
        (task,) = await chat.application.views.unclaimed(now + 10_000_000, 10)
        assert (task.message_id, task.attempt) == (sent.message_id, 1)


async def test_a_living_lease_is_respected(quick_leases):
    async with quick_leases() as chat:
        view = await chat.answered("tokens=300 interval_ms=5 vary_by_attempt=true")
        assert (view.attempt, view.answer) == (1, words(1, 300))


async def test_a_lease_without_a_generation_is_given_back(quick_leases):
    async with quick_leases() as chat:
        sent = await chat.send(SLOW)
        await chat.first_text(chat.batches(sent))
        worker = chat.running.worker
        attempt = worker._running[sent.message_id]
        attempt.fail(sqlite3.OperationalError("the store was away"))

        async def ended():
            return (await chat.view(sent.message_id)).state == "completed"

        await until(ended)
        assert (await chat.view(sent.message_id)).answer == words(2, 100)


async def test_a_worker_that_goes_hands_its_messages_over(open_chat):
    async with open_chat() as chat:
        sent = await chat.send(SLOW)
        await chat.first_text(chat.batches(sent))
    async with open_chat() as chat:
        with chat.application.following.follow(sent.message_id) as follower:
            seen = [envelope async for batch in follower.batches() for envelope in batch]
        (requeued,) = [envelope.body for envelope in seen if isinstance(envelope.body, GenerationRequeued)]
        assert requeued.cause == "handed_over"
        assert text_of(seen) == (await chat.view(sent.message_id)).answer == words(2, 100)


async def test_only_failures_count_against_the_attempts_that_a_message_has(quick_leases):
    async with quick_leases(with_worker=False) as chat:
        sent = await chat.send("fail_as=transient")
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())

        def go_and_die(staged):
            attempt = staged.aggregate.start_attempt("told to go")
            staged.aggregate.requeue(attempt, "handed_over", "", chat.application.clock.now())
            staged.aggregate.start_attempt("dead")

        await chat.running.ledger.decide(Message, sent.message_id, go_and_die, context)
        sent.follower.close()
    async with quick_leases(attempts=3, first_retry_delay=0.01) as chat:

        async def ended():
            return (await chat.view(sent.message_id)).ended_at

        await until(ended)
        view = await chat.view(sent.message_id)
        assert (view.state, view.attempt, view.error) == ("errored", 5, "scripted failure: transient")
        bodies = [envelope.body for envelope in await chat.events(sent.message_id)]
        causes = [body.cause for body in bodies if isinstance(body, GenerationRequeued)]
        assert causes == ["handed_over", "completion_request_error", "completion_request_error"]


async def test_what_was_sent_while_nobody_worked_is_answered_later(open_chat):
    async with open_chat(with_worker=False) as chat:
        sent = [await chat.send("tokens=3") for _ in range(5)]
        for one in sent:
            one.follower.close()
    async with open_chat() as chat:
        for one in sent:

            async def ended(one=one):
                return (await chat.view(one.message_id)).state == "completed"

            await until(ended)
            assert (await chat.names(one.message_id)).count("MessageCompleted") == 1


@pytest.mark.parametrize(("deaths", "state"), [(2, "completed"), (3, "errored")])
async def test_a_message_that_kills_its_workers_is_given_up(quick_leases, deaths, state):
    async with quick_leases(with_worker=False) as chat:
        sent = await chat.send(SLOW)
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
        for number in range(deaths):
            await chat.running.ledger.decide(
                Message,
                sent.message_id,
                lambda staged, number=number: staged.aggregate.start_attempt(f"dead {number}"),
                context,
            )
        sent.follower.close()
    async with quick_leases(take_overs=2) as chat:

        async def ended():
            return (await chat.view(sent.message_id)).ended_at

        await until(ended)
        view = await chat.view(sent.message_id)
        assert (view.state, view.attempt) == (state, 3)
