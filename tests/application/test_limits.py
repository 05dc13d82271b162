"""How many messages an app may have under way, what its tokens of a day are, and which requests are one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatledger.application.commands.new_message import NewMessage, Sent
from chatledger.application.context import SYSTEM, Context
from chatledger.application.errors import QuotaUsedUpError, TooManyRequestsError
from chatledger.application.ports.views import AppView
from chatledger.domain.configuration import AppConfiguration, Limits, Switch
from chatledger.domain.inputs import InputVariable
from chatledger.domain.message import Message
from tests.application.chat import Chat
from tests.support.databases import ON_SQLITE

A_DAY = 86_400


async def limited_app(chat: Chat, mode: str = "chat", **limits: Any) -> AppView:
    configuration = AppConfiguration(
        generator="scripted",
        settings={"tokens": 3},
        limits=Limits(**limits),
        more_like_this=Switch(enabled=True),
        user_input_form=(InputVariable(variable="tone"),),
    )
    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    created = await chat.application.apps.create(mode, "demo", configuration, context)
    return await chat.application.credentials.app(created.api_key)


@pytest.fixture
async def silent_chat(open_chat) -> AsyncIterator[Chat]:
    """Nothing is answered: what was sent stays under way."""
    async with open_chat(with_worker=False) as chat:
        yield chat


async def send(chat: Chat, app: AppView, user: str = "ada", query: str = "hello", **fields: Any) -> Sent:
    new = NewMessage(**({"query": query, "inputs": {}} | fields))
    sent = await chat.application.sending.send(chat.caller(user, app), new)
    sent.follower.close()
    return sent


async def senders(chat: Chat, app: AppView, count: int) -> list[Sent | BaseException]:
    """All at once, each of them somebody else."""
    sending = (send(chat, app, f"user-{number}") for number in range(count))
    return await asyncio.gather(*sending, return_exceptions=True)


def accepted(results: list[Sent | BaseException]) -> list[Sent]:
    sent = [result for result in results if isinstance(result, Sent)]
    refused = [result for result in results if isinstance(result, TooManyRequestsError)]
    assert len(sent) + len(refused) == len(results), results
    return sent


async def names_of_events(chat: Chat) -> list[str]:
    return await chat.running.store.log(lambda rows: [row.name for row in rows], after=0, limit=10_000)


# How many at once


async def test_of_fifty_at_once_exactly_as_many_get_in_as_may(silent_chat: Chat) -> None:
    app = await limited_app(silent_chat, concurrency=7)
    assert len(accepted(await senders(silent_chat, app, 50))) == 7
    assert accepted(await senders(silent_chat, app, 3)) == []
    names = await names_of_events(silent_chat)
    assert (names.count("MessageCreated"), names.count("EndUserSeen")) == (7, 7)


@pytest.mark.parametrize(
    ("own", "servers", "effective"), [(3, 5, 3), (5, 3, 3), (0, 2, 2), (2, 0, 2), (0, 0, 9)], ids=str
)
@ON_SQLITE
async def test_the_smaller_of_the_ceilings_that_there_are_counts(open_chat, own, servers, effective) -> None:
    async with open_chat(with_worker=False, max_app_concurrency=servers) as chat:
        app = await limited_app(chat, concurrency=own)
        results = await senders(chat, app, 9)
        assert len(accepted(results)) == effective
        assert {result.ceiling for result in results if isinstance(result, TooManyRequestsError)} <= {effective}


@ON_SQLITE
async def test_one_app_at_its_ceiling_keeps_no_other_out(silent_chat: Chat) -> None:
    full, other = await limited_app(silent_chat, concurrency=1), await limited_app(silent_chat, concurrency=1)
    await send(silent_chat, full)
    assert len(accepted(await senders(silent_chat, other, 2))) == 1


@ON_SQLITE
async def test_an_answer_that_ends_makes_room(chat: Chat) -> None:
    app = await limited_app(chat, concurrency=1)
    for _ in range(3):
        await answered(chat, app)


async def answered(chat: Chat, app: AppView, query: str = "hello") -> Sent:
    sent = await chat.application.sending.send(chat.caller("ada", app), NewMessage(query=query, inputs={}))
    await chat.to_the_end(sent)
    return sent


async def test_more_of_the_same_counts_too(open_chat) -> None:
    async with open_chat() as chat:
        app = await limited_app(chat, "completion")
        original = await answered(chat, app)
    async with open_chat(with_worker=False, max_app_concurrency=2) as chat:
        new = await chat.application.repeating.more_like(chat.caller("ada", app), original.message_id)
        again = (chat.application.sending.send(chat.caller("ada", app), new) for _ in range(4))
        results = await asyncio.gather(*again, return_exceptions=True)
        assert len(accepted(results)) == 2
        for sent in accepted(results):
            sent.follower.close()


# What a day may cost


async def test_a_quota_that_is_used_up_refuses_before_anything_is_written(chat: Chat) -> None:
    app = await limited_app(chat, tokens_per_day=3)
    await answered(chat, app)
    before = await names_of_events(chat)
    for user in ("ada", "somebody new"):
        with pytest.raises(QuotaUsedUpError) as refusal:
            await send(chat, app, user)
        assert 0 < refusal.value.retry_after <= A_DAY
    assert await names_of_events(chat) == before


@ON_SQLITE
async def test_a_quota_is_an_apps_own_and_lasts_until_it_is_used_up(chat: Chat) -> None:
    app, other = await limited_app(chat, tokens_per_day=5), await limited_app(chat, tokens_per_day=4)
    await answered(chat, app)
    await answered(chat, app)
    with pytest.raises(QuotaUsedUpError):
        await send(chat, app)
    await answered(chat, other)


@ON_SQLITE
async def test_what_was_stopped_costs_what_it_came_to(chat: Chat) -> None:
    app = await limited_app(chat, tokens_per_day=1)
    sent = await chat.application.sending.send(
        chat.caller("ada", app), NewMessage(query="/script tokens=1000 interval_ms=5", inputs={})
    )
    batches = chat.batches(sent)
    await chat.first_text(batches)
    await chat.application.stopping.stop(chat.caller("ada", app), sent.task_id)
    async for _ in batches:
        pass
    with pytest.raises(QuotaUsedUpError):
        await send(chat, app)


# Which requests are one


async def test_of_twenty_equal_requests_at_once_one_is_answered_for_all(chat: Chat) -> None:
    app = await limited_app(chat, dedupe_window=60)
    new = NewMessage(query="/script tokens=20 interval_ms=100", inputs={"tone": "dry"})
    sending = (chat.application.sending.send(chat.caller("ada", app), new) for _ in range(20))
    sent = await asyncio.gather(*sending)
    assert len({(one.message_id, one.task_id, one.conversation_id, one.created.position) for one in sent}) == 1
    seen = await asyncio.gather(*(chat.to_the_end(one) for one in sent))
    assert {tuple(envelope.event_id for envelope in events) for events in seen} == {
        tuple(envelope.event_id for envelope in seen[0])
    }
    assert (await names_of_events(chat)).count("MessageCreated") == 1


@pytest.mark.parametrize(
    "changed",
    [{"query": "hi"}, {"inputs": {"tone": "dry"}}, {"user": "bob"}, {"conversation_id": True}],
    ids=lambda changed: next(iter(changed)),
)
@ON_SQLITE
async def test_what_differs_is_another_request(silent_chat: Chat, changed: dict[str, Any]) -> None:
    app = await limited_app(silent_chat, dedupe_window=60)
    first = await send(silent_chat, app)
    if "conversation_id" in changed:
        changed = {"conversation_id": first.conversation_id}
    other = await send(silent_chat, app, **changed)
    assert other.message_id != first.message_id
    assert (await send(silent_chat, app, **changed)).message_id == other.message_id


@ON_SQLITE
async def test_what_is_not_declared_makes_no_difference(silent_chat: Chat) -> None:
    app = await limited_app(silent_chat, dedupe_window=60)
    first = await send(silent_chat, app)
    assert (await send(silent_chat, app, inputs={"colour": "red"})).message_id == first.message_id


@ON_SQLITE
async def test_a_repeated_request_needs_no_place_of_its_own(silent_chat: Chat) -> None:
    app = await limited_app(silent_chat, dedupe_window=60, concurrency=1)
    first = await send(silent_chat, app)
    assert (await send(silent_chat, app)).message_id == first.message_id
    with pytest.raises(TooManyRequestsError):
        await send(silent_chat, app, query="hi")


@ON_SQLITE
async def test_after_the_end_the_same_request_is_a_new_one(chat: Chat) -> None:
    app = await limited_app(chat, dedupe_window=60)
    assert (await answered(chat, app)).message_id != (await answered(chat, app)).message_id


async def test_an_answer_that_is_being_stopped_is_not_joined(silent_chat: Chat) -> None:
    app = await limited_app(silent_chat, dedupe_window=60)
    first = await send(silent_chat, app)
    context = Context(actor=SYSTEM, correlation_id=silent_chat.application.new_id())

    def start_and_ask_for_the_end(staged: Any) -> None:
        staged.aggregate.start_attempt("slow to stop")
        staged.aggregate.request_stop("user")

    await silent_chat.running.ledger.decide(Message, first.message_id, start_and_ask_for_the_end, context)
    created = first.created.body
    assert await silent_chat.application.views.running_request(created.end_user_id, created.fingerprint) is None

    second = await send(silent_chat, app)

    assert second.message_id != first.message_id
    assert (await send(silent_chat, app)).message_id == second.message_id


@ON_SQLITE
async def test_without_a_window_every_request_is_one_of_its_own(silent_chat: Chat) -> None:
    app = await limited_app(silent_chat)
    assert (await send(silent_chat, app)).message_id != (await send(silent_chat, app)).message_id


@ON_SQLITE
async def test_a_fingerprint_tells_nothing_without_the_persons_key(silent_chat: Chat) -> None:
    """Two people who ask the same have different ones: there is nothing to compare a guess with."""
    app = await limited_app(silent_chat, dedupe_window=60)
    ada, bob = await send(silent_chat, app, "ada"), await send(silent_chat, app, "bob")
    fingerprints = [(await silent_chat.events(sent.message_id))[0].body.fingerprint for sent in (ada, bob)]
    assert None not in fingerprints
    assert len(set(fingerprints)) == 2
