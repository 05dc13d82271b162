"""A message from its question to the end of its answer."""

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.tables import EVENTS
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.application.ports.views import Page
from chatledger.domain.events import MessageStopped
from tests.application.chat import text_of, until
from tests.support.databases import connection_to


async def test_what_is_streamed_is_what_history_shows(chat):
    sent = await chat.send("tokens=50 interval_ms=1")
    streamed = text_of(await chat.to_the_end(sent))
    (message,) = await chat.history(sent.conversation_id)
    assert message.answer == streamed == "".join(f"t{n} " for n in range(50))
    assert (message.state, message.usage.completion_tokens) == ("completed", 50)


async def test_a_reader_never_sees_what_is_not_committed(chat):
    sent = await chat.send("tokens=30 interval_ms=3")
    version = sa.select(EVENTS.c.version)
    with connection_to(chat.settings.ledger_url) as other:
        async for batch in chat.batches(sent):
            for envelope in batch:
                assert other.scalar(version.where(EVENTS.c.position == envelope.position)) == envelope.version


async def test_every_follower_gets_every_event_once_and_in_order(chat):
    sent = await chat.send("tokens=60 interval_ms=2")
    batches = chat.batches(sent)
    seen = await chat.first_text(batches)
    late = chat.application.following.follow(sent.message_id)
    async for batch in batches:
        seen += batch
    with late as follower:
        again = [envelope async for batch in follower.batches() for envelope in batch]
    with chat.application.following.follow(sent.message_id) as follower:
        rest = [envelope async for batch in follower.batches(after=3) for envelope in batch]
    versions = [envelope.version for envelope in seen]
    assert versions == list(range(1, len(seen) + 1))
    assert [envelope.version for envelope in again] == versions
    assert [envelope.version for envelope in rest] == versions[3:]


async def test_history_shows_the_text_so_far_while_it_is_generated(chat):
    sent = await chat.send("tokens=400 interval_ms=5")
    batches = chat.batches(sent)
    so_far = text_of(await chat.first_text(batches))
    (message,) = await chat.history(sent.conversation_id)
    assert so_far
    assert message.answer.startswith(so_far)
    assert message.state == "running"
    await chat.application.stopping.stop(chat.caller(), sent.task_id)


async def test_a_rating_in_the_middle_disturbs_nothing(chat):
    sent = await chat.send("tokens=60 interval_ms=5 vary_by_attempt=true")
    batches = chat.batches(sent)
    seen = await chat.first_text(batches)
    await chat.application.rating.rate(chat.caller(), sent.message_id, "like", "good so far")
    async for batch in batches:
        seen += batch
    view = await chat.view(sent.message_id)
    assert text_of(seen) == view.answer == "".join(f"a1t{n} " for n in range(60))
    assert (view.state, view.attempt, view.feedback, view.feedback_content) == ("completed", 1, "like", "good so far")


async def test_a_stop_keeps_what_was_delivered(chat):
    sent = await chat.send("tokens=1000 interval_ms=5")
    batches = chat.batches(sent)
    seen = await chat.first_text(batches)
    await chat.application.stopping.stop(chat.caller(), sent.task_id)
    async for batch in batches:
        seen += batch
    view = await chat.view(sent.message_id)
    assert (view.state, view.stopped_by) == ("stopped", "user")
    assert view.answer == text_of(seen)
    assert seen[-1].body == MessageStopped(
        by="user",
        attempt=1,
        offset=len(view.answer),
        usage=seen[-1].body.usage,
        fingerprint=seen[-1].body.fingerprint,
    )


async def test_a_stop_before_the_first_token_ends_it_at_once(chat):
    sent = await chat.send("first_token_ms=60000")

    async def runs():
        return (await chat.view(sent.message_id)).state == "running"

    await until(runs)
    await chat.application.stopping.stop(chat.caller(), sent.task_id)
    await chat.to_the_end(sent)
    view = await chat.view(sent.message_id)
    assert (view.state, view.answer) == ("stopped", "")


async def test_a_stop_of_a_task_that_no_worker_has_ends_it_then_and_there(open_chat):
    async with open_chat(with_worker=False) as chat:
        sent = await chat.send()
        await chat.application.stopping.stop(chat.caller(), sent.task_id)
        assert await chat.names(sent.message_id) == ["MessageCreated", "StopRequested", "MessageStopped"]


async def test_a_stop_by_another_or_after_the_end_changes_nothing(chat):
    view = await chat.answered("tokens=3")
    before = await chat.names(view.message_id)
    await chat.application.stopping.stop(chat.caller(), view.task_id)
    running = await chat.send("tokens=40 interval_ms=5")
    with pytest.raises(NotFoundError):
        await chat.application.stopping.stop(chat.caller("eve"), running.task_id)
    await chat.to_the_end(running)
    assert await chat.names(view.message_id) == before
    assert (await chat.view(running.message_id)).state == "completed"


async def test_a_transient_failure_before_the_first_token_is_tried_again(open_chat):
    async with open_chat(first_retry_delay=0.01) as chat:
        view = await chat.answered("tokens=5 fail_as=transient fail_times=2 vary_by_attempt=true")
        assert (view.state, view.attempt, view.answer) == ("completed", 3, "a3t0 a3t1 a3t2 a3t3 a3t4 ")
        assert (await chat.names(view.message_id)).count("GenerationRequeued") == 2


async def test_attempts_are_bounded(open_chat):
    async with open_chat(first_retry_delay=0.01) as chat:
        view = await chat.answered("fail_as=transient")
        assert (view.state, view.attempt, view.error_code) == ("errored", 3, "completion_request_error")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("transient", "completion_request_error"),
        ("quota", "provider_quota_exceeded"),
        ("credentials", "provider_not_initialize"),
        ("invalid", "completion_request_error"),
        ("internal", "internal_server_error"),
    ],
)
async def test_a_failure_after_text_keeps_the_text_and_is_not_tried_again(chat, kind, code):
    view = await chat.answered(f"tokens=9 fail_after=3 fail_as={kind}")
    assert (view.state, view.attempt, view.error_code, view.answer) == ("errored", 1, code, "t0 t1 t2 ")


async def test_a_generation_has_a_time_limit(open_chat):
    async with open_chat(generation_timeout=0.2) as chat:
        view = await chat.answered("tokens=1000 interval_ms=10")
        assert (view.state, view.stopped_by) == ("stopped", "timeout")
        assert view.answer.startswith("t0 t1 ")


async def test_the_prompt_is_what_had_been_answered_at_the_context_cut(chat):
    first = await chat.answered("text=one")
    conversation = first.conversation_id
    await chat.answered("fail_as=invalid", conversation=conversation)
    second = await chat.answered("text=two", conversation=conversation)
    running = await chat.send("tokens=1000 interval_ms=20", conversation=conversation)
    third = await chat.send("text=three", conversation=conversation)
    await chat.to_the_end(third)
    await chat.application.stopping.stop(chat.caller(), running.task_id)
    await chat.to_the_end(running)
    created = third.created.body
    place = (third.message_id, created.context_cut)
    exchanges = await chat.application.views.exchanges(*place, longest=500, tokens=0)
    assert [(exchange.query, exchange.answer) for exchange in exchanges] == [
        (first.query, "one"),
        (second.query, "two"),
    ]
    assert list(exchanges) == list(await chat.application.views.exchanges(*place, longest=500, tokens=0))


async def test_what_is_anothers_does_not_exist(chat):
    view = await chat.answered("tokens=1")
    other_app = await chat.new_app()
    strangers = [chat.caller("eve"), chat.caller("ada", other_app), chat.caller(None, other_app)]
    for stranger in strangers:
        with pytest.raises(NotFoundError):
            await chat.application.history.message(stranger, view.message_id)
        with pytest.raises(NotFoundError):
            await chat.application.history.messages(stranger, view.conversation_id, Page(20))
        with pytest.raises(NotFoundError):
            await chat.application.rating.rate(stranger, view.message_id, "like", None)
        with pytest.raises(NotFoundError):
            await chat.application.history.task(stranger, view.task_id)
    owner = chat.caller(None)
    assert (await chat.application.history.message(owner, view.message_id)).answer == "t0 "


async def test_feedback_replaces_and_withdraws(chat):
    view = await chat.answered("tokens=1")
    rate = chat.application.rating.rate
    with pytest.raises(InvalidParameterError, match="rating cannot be None when feedback not exists"):
        await rate(chat.caller(), view.message_id, None, None)
    await rate(chat.caller(), view.message_id, "like", "nice")
    await rate(chat.caller(), view.message_id, "dislike", None)
    assert [
        (feedback.rating, feedback.content) for feedback in await chat.application.feedbacks.page(chat.caller(), 1, 20)
    ] == [("dislike", None)]
    await rate(chat.caller(), view.message_id, None, None)
    assert await chat.application.feedbacks.page(chat.caller(), 1, 20) == []
    assert (await chat.view(view.message_id)).feedback is None
