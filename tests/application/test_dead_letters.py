"""Messages that ended as errored: their list, what became of their attempts, and others in their place."""

import asyncio
from uuid import UUID

import msgspec
import pytest

from chatledger.application.commands.new_message import NewMessage
from chatledger.application.context import OPERATOR, SYSTEM, Actor, Context
from chatledger.application.errors import (
    AlreadyReplayedError,
    ForbiddenError,
    InvalidParameterError,
    NotFoundError,
    TooManyRequestsError,
)
from chatledger.application.ports.dead_letters import WantedLetters
from chatledger.application.ports.views import Page
from chatledger.domain.configuration import AppConfiguration, Limits
from chatledger.domain.events import MessageErrored
from chatledger.domain.message import Message
from tests.application.chat import until


def by_an_operator(chat, operator: UUID | None = None) -> Context:
    actor = Actor("operator", str(operator)) if operator else OPERATOR
    return Context(actor=actor, correlation_id=chat.application.new_id())


async def replay(chat, message_id, *, force=False):
    return await chat.application.replaying.replay(message_id, by_an_operator(chat), force=force)


async def letters(chat, limit=20, beyond=None, **wanted):
    found, has_more = await chat.application.dead_letters.page(WantedLetters(**wanted), Page(limit, beyond))
    return [letter.message_id for letter in found], has_more


async def ended(chat, message_id):
    async def view():
        message = await chat.application.views.message(message_id)
        return message if message.ended_at else None

    return await until(view)


async def test_what_ended_as_errored_stands_in_the_list_newest_first(chat):
    assert await letters(chat) == ([], False)
    failed = [await chat.answered(f"fail_as={kind}") for kind in ("quota", "invalid", "credentials")]
    await chat.answered("tokens=1")
    newest_first = [view.message_id for view in reversed(failed)]
    assert await letters(chat) == (newest_first, False)

    (letter, *_), _ = await chat.application.dead_letters.page(WantedLetters(), Page(1))
    view = failed[-1]
    assert (letter.code, letter.attempts, letter.generator, letter.mode) == (
        *("provider_not_initialize", 1, "scripted"),
        "chat",
    )
    for name in ("message_id", "conversation_id", "task_id", "app_id", "end_user_id", "created_at", "ended_at"):
        assert getattr(letter, name) == getattr(view, name)


async def test_the_list_by_app_by_code_and_by_what_is_open_page_by_page(chat):
    kinds = ["quota", "invalid", "quota", "internal", "invalid", "quota", "invalid"]
    codes = {"quota": "provider_quota_exceeded", "invalid": "completion_request_error"}
    failed = [(kind, (await chat.answered(f"fail_as={kind}")).message_id) for kind in kinds]
    replayed = failed[2][1]
    again = await replay(chat, replayed)
    await ended(chat, again.message_id)
    failed.append(("quota", again.message_id))
    other = await chat.new_app()
    await chat.application.asking.ask(chat.caller(app=other), NewMessage(query="fine", inputs={}))

    async def all_pages(**wanted):
        found, beyond, has_more = [], None, True
        while has_more:
            page, has_more = await letters(chat, 2, beyond, **wanted)
            found += page
            beyond = page[-1] if page else None
        return found

    everything = [message_id for _, message_id in reversed(failed)]
    assert await all_pages() == everything
    assert await all_pages(app_id=chat.app.app_id) == everything
    assert await all_pages(app_id=other.app_id) == []
    for kind, code in codes.items():
        of_this_code = [message_id for failure, message_id in reversed(failed) if failure == kind]
        assert await all_pages(code=code, app_id=chat.app.app_id) == await all_pages(code=code) == of_this_code
    assert await all_pages(is_open=False) == [replayed]
    assert await all_pages(is_open=True) == [message_id for message_id in everything if message_id != replayed]
    with pytest.raises(NotFoundError):
        await letters(chat, beyond=chat.application.new_id())
    with pytest.raises(InvalidParameterError, match="limit"):
        await letters(chat, limit=101)


async def test_what_became_of_each_attempt(quick_leases):
    async with quick_leases(with_worker=False) as chat:
        sent = await chat.send("fail_as=transient")
        sent.follower.close()
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())

        def go_and_die(staged):
            attempt = staged.aggregate.start_attempt("told to go")
            staged.aggregate.requeue(attempt, "handed_over", "", chat.application.clock.now())
            staged.aggregate.start_attempt("dead")

        await chat.running.ledger.decide(Message, sent.message_id, go_and_die, context)
        with pytest.raises(NotFoundError):
            await chat.application.dead_letters.show(sent.message_id)
    async with quick_leases(attempts=2, first_retry_delay=0.01) as chat:
        view = await ended(chat, sent.message_id)
        detail = await chat.application.dead_letters.show(sent.message_id)
        worker = chat.running.worker._settings.name
    assert (detail.letter.attempts, detail.reason) == (4, "scripted failure: transient")
    assert [(past.attempt, past.worker, past.outcome, past.code, past.detail) for past in detail.attempts] == [
        (1, "told to go", "handed_over", None, None),
        (2, "dead", "taken_over", None, None),
        (3, worker, "failed", "completion_request_error", "scripted failure: transient"),
        (4, worker, "failed", "completion_request_error", "scripted failure: transient"),
    ]
    waited, last = detail.attempts[2:]
    assert waited.started_at < waited.not_before <= last.started_at <= last.ended_at == view.ended_at
    assert last.not_before is None


async def test_a_message_may_fail_without_an_attempt(open_chat):
    async with open_chat(with_worker=False) as chat:
        sent = await chat.send()
        sent.follower.close()
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
        await chat.running.ledger.decide(
            Message,
            sent.message_id,
            lambda staged: staged.aggregate.fail(0, "internal_server_error", "nobody answers"),
            context,
        )
        detail = await chat.application.dead_letters.show(sent.message_id)
        assert (detail.letter.attempts, detail.reason, detail.attempts) == (0, "nobody answers", ())


async def test_a_replay_asks_the_same_beside_the_original(chat):
    first = await chat.answered("tokens=1")
    original = await chat.answered("text='in vain' fail_as=quota", conversation=first.conversation_id)
    operator = chat.application.new_id()
    context = by_an_operator(chat, operator)
    sent = await chat.application.replaying.replay(original.message_id, context)
    view = await ended(chat, sent.message_id)

    asked, again = [(await chat.events(message_id))[0].body for message_id in (original.message_id, sent.message_id)]
    same = ("conversation_id", "app_id", "end_user_id", "mode", "generator", "parameters", "inputs", "query", "files")
    assert [getattr(again, name) for name in same] == [getattr(asked, name) for name in same]
    assert again.replayed_from == original.message_id
    assert asked.replayed_from is None
    detail = await chat.application.history.detail(chat.caller(), original.message_id)
    assert detail.siblings == [sent.message_id]

    (created, *_), _ = await chat.application.facts.stream(sent.message_id, 0, 10)
    failed_by = [fact for fact in await chat.events(original.message_id) if isinstance(fact.body, MessageErrored)]
    assert created.context.actor == Actor("operator", str(operator))
    assert created.context.correlation_id == context.correlation_id
    assert created.context.causation_id == failed_by[0].event_id

    assert view.state == "errored", "what fails again is a dead letter of its own"
    shown = await chat.application.dead_letters.show(original.message_id)
    assert shown.letter.replays == (sent.message_id,)
    assert await letters(chat, is_open=True) == ([sent.message_id], False)


async def test_a_completion_is_replayed_in_a_place_of_its_own(chat):
    app = await chat.new_app("completion")
    caller = chat.caller(app=app)
    new = NewMessage(query="/script tokens=2 fail_as=invalid fail_times=0", inputs={})
    answered = await chat.application.asking.ask(caller, new)
    with pytest.raises(NotFoundError):
        await replay(chat, answered.message_id)
    sent = await chat.application.sending.send(
        caller, msgspec.structs.replace(new, query="/script tokens=2 fail_as=invalid")
    )
    await chat.to_the_end(sent)
    again = await replay(chat, sent.message_id)
    view = await ended(chat, again.message_id)
    assert (view.mode, view.query, view.conversation_id != sent.conversation_id) == (
        "completion",
        "/script tokens=2 fail_as=invalid",
        True,
    )


@pytest.mark.parametrize("dedupe_window", [0, 60])
async def test_while_a_replay_is_unfinished_there_is_no_other_one_but_on_purpose(open_chat, dedupe_window):
    async with open_chat() as chat:
        limited = AppConfiguration(generator="scripted", limits=Limits(dedupe_window=dedupe_window))
        await chat.application.apps.reconfigure(chat.app.app_id, lambda _: limited, by_an_operator(chat))
        failed = await chat.answered("tokens=3 fail_as=invalid")
    async with open_chat(with_worker=False) as chat:
        outcomes = await asyncio.gather(*(replay(chat, failed.message_id) for _ in range(8)), return_exceptions=True)
        (sent,) = [one for one in outcomes if not isinstance(one, Exception)]
        assert [type(one) for one in outcomes if isinstance(one, Exception)] == [AlreadyReplayedError] * 7
        on_purpose = await replay(chat, failed.message_id, force=True)
        shown = await chat.application.dead_letters.show(failed.message_id)
        assert shown.letter.replays == (sent.message_id, on_purpose.message_id)

        for one in (sent, on_purpose):
            await chat.application.stopping.stop(chat.caller(), one.task_id)
        third = await replay(chat, failed.message_id)
        assert third.message_id not in shown.letter.replays


async def test_what_a_replay_has_answered_is_not_replayed_again_but_on_purpose(open_chat):
    async with open_chat(with_worker=False) as chat:
        sent = await chat.send("tokens=2")
        sent.follower.close()
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
        await chat.running.ledger.decide(
            Message,
            sent.message_id,
            lambda staged: staged.aggregate.fail(0, "internal_server_error", "nobody answers"),
            context,
        )
    async with open_chat() as chat:
        again = await replay(chat, sent.message_id)
        assert (await ended(chat, again.message_id)).answer == "t0 t1 "
        with pytest.raises(AlreadyReplayedError):
            await replay(chat, sent.message_id)
        with pytest.raises(NotFoundError):
            await replay(chat, again.message_id)
        once_more = await replay(chat, sent.message_id, force=True)
        assert (await ended(chat, once_more.message_id)).answer == "t0 t1 "


async def test_a_replay_keeps_to_what_the_app_allows(chat):
    failed = await chat.answered("fail_as=invalid")
    apps, app_id = chat.application.apps, chat.app.app_id
    limits = AppConfiguration(generator="scripted", limits=Limits(concurrency=1))
    await apps.reconfigure(app_id, lambda _: limits, by_an_operator(chat))
    running = await chat.send("tokens=400 interval_ms=20")
    with pytest.raises(TooManyRequestsError):
        await replay(chat, failed.message_id)
    await chat.application.stopping.stop(chat.caller(), running.task_id)
    await chat.to_the_end(running)
    await apps.disable(app_id, by_an_operator(chat))
    with pytest.raises(ForbiddenError):
        await replay(chat, failed.message_id)
    assert await letters(chat, is_open=True) == ([failed.message_id], False)


async def test_what_was_said_in_a_deleted_conversation_is_not_asked_again(chat):
    failed = await chat.answered("fail_as=invalid")
    await chat.application.deleting.delete(chat.caller(), failed.conversation_id)
    with pytest.raises(NotFoundError) as refusal:
        await replay(chat, failed.message_id)
    assert refusal.value.missing == "conversation"
    assert (await letters(chat))[0] == [failed.message_id]
    with pytest.raises(NotFoundError) as refusal:
        await replay(chat, chat.application.new_id())
    assert refusal.value.missing == "dead_letter"
