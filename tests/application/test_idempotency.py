"""A request that is sent again under its key is no other message."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatledger.application.commands.new_message import NewMessage, Sent
from chatledger.application.context import SYSTEM, Context
from chatledger.application.errors import (
    ConversationBusyError,
    IdempotencyKeyReusedError,
    InvalidParameterError,
    NotFoundError,
    QuotaUsedUpError,
    TooManyRequestsError,
)
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import AppView
from chatledger.domain.configuration import AppConfiguration, Limits, Switch
from chatledger.domain.events import MessageCompleted, MessageErrored, MessageStopped
from chatledger.domain.inputs import InputVariable
from tests.application.chat import Chat, text_of
from tests.embedding.generators import Counting
from tests.support.databases import ON_SQLITE

KEY = "5f1c-once"


@pytest.fixture
async def silent_chat(open_chat) -> AsyncIterator[Chat]:
    """Nothing is answered: what was sent stays under way."""
    async with open_chat(with_worker=False) as chat:
        yield chat


def a_context(chat: Chat) -> Context:
    return Context(actor=SYSTEM, correlation_id=chat.application.new_id())


async def an_app(chat: Chat, mode: str = "chat", **fields: Any) -> AppView:
    configuration = AppConfiguration(
        **(
            {
                "generator": "scripted",
                "settings": {"tokens": 3},
                "more_like_this": Switch(enabled=True),
                "user_input_form": (InputVariable(variable="tone"),),
            }
            | fields
        )
    )
    created = await chat.application.apps.create(mode, "demo", configuration, a_context(chat))
    return await chat.application.credentials.app(created.api_key)


async def configured(chat: Chat, app: AppView, **fields: Any) -> AppView:
    configuration = AppConfiguration(**({"generator": "scripted", "settings": {"tokens": 3}} | fields))
    await chat.application.apps.configure(app.app_id, configuration, a_context(chat))
    return await chat.application.directory.app(app.app_id)


def asking(query: str = "hello", key: str | None = KEY, **fields: Any) -> NewMessage:
    return NewMessage(**({"query": query, "inputs": {}, "idempotency_key": key} | fields))


async def hand_over(chat: Chat, new: NewMessage, user: str = "ada", app: AppView | None = None) -> Sent:
    sent = await chat.application.sending.send(chat.caller(user, app), new)
    sent.follower.close()
    return sent


async def send(chat: Chat, query: str = "hello", user: str = "ada", app: AppView | None = None, **fields: Any) -> Sent:
    return await hand_over(chat, asking(query, **fields), user, app)


async def answered(chat: Chat, new: NewMessage, app: AppView | None = None) -> Sent:
    sent = await chat.application.sending.send(chat.caller("ada", app), new)
    await chat.to_the_end(sent)
    return sent


async def counted(chat: Chat) -> Counter[str]:
    names = await chat.running.store.log(lambda rows: [row.name for row in rows], after=0, limit=10_000)
    return Counter(names)


# One message


async def test_of_a_hundred_at_once_by_somebody_new_one_is_taken_in(chat: Chat) -> None:
    new = asking("/script tokens=20 interval_ms=5")
    sending = (chat.application.sending.send(chat.caller("somebody new"), new) for _ in range(100))
    sent = await asyncio.gather(*sending)
    assert len({(one.message_id, one.task_id, one.conversation_id, one.created.position) for one in sent}) == 1
    assert [one.is_repeat for one in sent].count(False) == 1
    seen = await asyncio.gather(*(chat.to_the_end(one) for one in sent))
    assert len({tuple(envelope.event_id for envelope in events) for events in seen}) == 1
    names = await counted(chat)
    assert (names["MessageCreated"], names["EndUserSeen"], names["MessageCompleted"]) == (1, 1, 1)


async def test_at_once_with_other_words_one_of_each_kind_is_refused(silent_chat: Chat) -> None:
    sending = (send(silent_chat, f"word {number % 2}") for number in range(20))
    results = await asyncio.gather(*sending, return_exceptions=True)
    sent = [result for result in results if isinstance(result, Sent)]
    refused = [result for result in results if isinstance(result, IdempotencyKeyReusedError)]
    assert (len(sent), len(refused)) == (10, 10)
    assert len({one.message_id for one in sent}) == 1


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("tokens=3", MessageCompleted),
        ("tokens=3 fail_after=1 fail_as=internal", MessageErrored),
        ("tokens=10000 interval_ms=5", MessageStopped),
    ],
    ids=["completed", "errored", "stopped"],
)
async def test_what_has_ended_is_told_from_its_beginning(chat: Chat, script: str, end: type) -> None:
    new = asking(f"/script {script}")
    first = await chat.application.sending.send(chat.caller(), new)
    batches = chat.batches(first)
    told = await chat.first_text(batches)
    if end is MessageStopped:
        await chat.application.stopping.stop(chat.caller(), first.task_id)
    told += [envelope async for batch in batches for envelope in batch]

    again = await chat.application.sending.send(chat.caller(), new)
    assert (again.message_id, again.is_repeat) == (first.message_id, True)
    assert again.state == {MessageCompleted: "completed", MessageErrored: "errored", MessageStopped: "stopped"}[end]
    repeated = await chat.to_the_end(again)
    assert [envelope.event_id for envelope in repeated] == [envelope.event_id for envelope in told]
    assert isinstance(repeated[-1].body, end)
    assert text_of(repeated)


async def test_after_a_restart_the_key_still_stands_for_its_message(open_chat) -> None:
    async with open_chat() as chat:
        first = await answered(chat, asking())
    async with open_chat() as chat:
        assert (await send(chat)).message_id == first.message_id


# Whose, and for how long


@ON_SQLITE
async def test_a_key_is_one_persons_in_one_app(silent_chat: Chat) -> None:
    app = await an_app(silent_chat)
    first = await send(silent_chat, app=app)
    others = [await send(silent_chat, app=app, user="bob"), await send(silent_chat, app=await an_app(silent_chat))]
    assert len({sent.message_id for sent in (first, *others)}) == 3
    assert (await send(silent_chat, app=app, key="another")).message_id != first.message_id


@ON_SQLITE
async def test_after_its_hours_a_key_is_free_again(open_chat) -> None:
    async with open_chat(with_worker=False, idempotency_hours=1e-7) as chat:
        first = await send(chat)
        second = await send(chat, "something else")
        assert (second.message_id != first.message_id, second.is_repeat) == (True, False)


@ON_SQLITE
async def test_a_key_is_on_record_as_a_hash_under_its_persons_own(silent_chat: Chat) -> None:
    ada, bob = [await send(silent_chat, user=user) for user in ("ada", "bob")]
    kept = [sent.created.body.idempotency_key for sent in (ada, bob)]
    assert None not in kept
    assert kept[0] != kept[1]
    assert KEY not in repr(ada.created)


# The same, or not


@ON_SQLITE
@pytest.mark.parametrize(
    "changed",
    [
        {"query": "hi"},
        {"inputs": {"tone": "dry"}},
        {"inputs": {"colour": "red"}},
        {"files": ({"type": "image", "transfer_method": "remote_url", "url": "https://example.org/a.png"},)},
        {"conversation_id": True},
        {"parent_id": None},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_another_request_under_the_key_is_refused(silent_chat: Chat, changed: dict[str, Any]) -> None:
    app = await an_app(silent_chat)
    first = await send(silent_chat, app=app)
    if "conversation_id" in changed:
        changed = {"conversation_id": first.conversation_id}
    before = await counted(silent_chat)
    with pytest.raises(IdempotencyKeyReusedError):
        await send(silent_chat, app=app, **changed)
    assert await counted(silent_chat) == before
    assert (await send(silent_chat, app=app)).message_id == first.message_id


@ON_SQLITE
async def test_how_it_is_to_be_answered_makes_no_difference(silent_chat: Chat) -> None:
    first = await send(silent_chat)
    ways = {"automatic_name": False, "on_busy": "allow", "on_disconnect": "continue"}
    assert (await send(silent_chat, **ways)).message_id == first.message_id


@ON_SQLITE
async def test_a_repeat_is_no_second_sender_in_its_conversation(silent_chat: Chat) -> None:
    conversation = (await send(silent_chat, key=None)).conversation_id
    first = await send(silent_chat, conversation_id=conversation)
    assert (await send(silent_chat, conversation_id=conversation, on_busy="reject")).message_id == first.message_id
    with pytest.raises(ConversationBusyError):
        await send(silent_chat, conversation_id=conversation, on_busy="reject", key="another")


@ON_SQLITE
async def test_what_is_made_anew_has_keys_too(chat: Chat) -> None:
    original = await answered(chat, asking(key=None))
    again = await chat.application.repeating.again(chat.caller(), original.message_id)
    under_key = NewMessage(
        **{name: getattr(again, name) for name in again.__struct_fields__} | {"idempotency_key": KEY}
    )
    first = await hand_over(chat, under_key)
    assert first.message_id != original.message_id
    assert (await hand_over(chat, under_key)).message_id == first.message_id
    with pytest.raises(IdempotencyKeyReusedError):
        await send(chat)


@ON_SQLITE
@pytest.mark.parametrize("inputs", [{1: 1, "a": 1}, "circular"], ids=["keys", "circular"])
async def test_inputs_that_cannot_be_compared_are_refused(silent_chat: Chat, inputs: Any) -> None:
    if inputs == "circular":
        inputs = {}
        inputs["self"] = inputs
    await send(silent_chat)
    with pytest.raises(InvalidParameterError) as refused:
        await send(silent_chat, key="another", inputs=inputs)
    assert refused.value.field == "inputs"


# What has changed since


async def test_a_repeat_needs_no_quota(chat: Chat) -> None:
    app = await an_app(chat, limits=Limits(tokens_per_day=3))
    first = await answered(chat, asking(), app)
    with pytest.raises(QuotaUsedUpError):
        await send(chat, app=app, key="another")
    assert (await send(chat, app=app)).message_id == first.message_id


@ON_SQLITE
async def test_a_repeat_needs_no_place_of_its_own(silent_chat: Chat) -> None:
    app = await an_app(silent_chat, limits=Limits(concurrency=1))
    together = await asyncio.gather(*(send(silent_chat, app=app) for _ in range(10)))
    assert len({sent.message_id for sent in together}) == 1
    with pytest.raises(TooManyRequestsError):
        await send(silent_chat, app=app, key="another")


@ON_SQLITE
async def test_a_repeat_needs_neither_the_form_nor_the_generator_of_the_first(open_chat) -> None:
    new = asking(inputs={"tone": "dry"})
    async with open_chat(generators=[Counting()]) as chat:
        app = await an_app(chat, generator="counting", settings={})
        first = await answered(chat, new, app)
    async with open_chat() as chat:
        year = InputVariable(variable="year", type="number", required=True)
        apps = await chat.application.views.apps()
        app = await configured(chat, next(each for each in apps if each.app_id == app.app_id), user_input_form=(year,))
        assert (await hand_over(chat, new, app=app)).message_id == first.message_id
        with pytest.raises(InvalidParameterError):
            await send(chat, app=app, key="another", inputs={"tone": "dry"})


@ON_SQLITE
async def test_a_deleted_conversation_leaves_a_key_that_stands_for_nothing(chat: Chat) -> None:
    first = await answered(chat, asking())
    await chat.application.deleting.delete(chat.caller(), first.conversation_id)
    with pytest.raises(IdempotencyKeyReusedError, match="deleted"):
        await send(chat)
    with pytest.raises(IdempotencyKeyReusedError, match="Another"):
        await send(chat, "something else")


@ON_SQLITE
async def test_the_text_of_a_completion_can_be_had_again(chat: Chat) -> None:
    app = await an_app(chat, "completion")
    first = await answered(chat, asking("about ledgers"), app)
    again = await chat.application.asking.ask(chat.caller("ada", app), asking("about ledgers"))
    assert (again.message_id, again.text) == (first.message_id, "t0 t1 t2 ")


# What leaves nothing


@ON_SQLITE
async def test_a_refused_request_leaves_nothing_under_its_key(silent_chat: Chat) -> None:
    app = await an_app(silent_chat, limits=Limits(concurrency=1))
    held = await send(silent_chat, app=app, key="held")
    nowhere = silent_chat.application.new_id()
    refusals = [
        (InvalidParameterError, {"query": ""}),
        (NotFoundError, {"conversation_id": nowhere}),
        (TooManyRequestsError, {}),
    ]
    for refusal, fields in refusals:
        with pytest.raises(refusal):
            await send(silent_chat, app=app, **fields)
    await silent_chat.application.stopping.stop(silent_chat.caller("ada", app), held.task_id)
    sent = await send(silent_chat, "something else", app=app)
    assert not sent.is_repeat


async def test_a_store_in_trouble_leaves_nothing_under_the_key(silent_chat: Chat, monkeypatch) -> None:
    def no_room(*_: object) -> None:
        raise StorageUnavailableError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(silent_chat.running.ledger.keyring, "make_durable", no_room)
        with pytest.raises(StorageUnavailableError):
            await send(silent_chat)
    sent = await send(silent_chat, "something else")
    assert not sent.is_repeat


# Beside `dedupe_window`


@ON_SQLITE
async def test_keys_tell_apart_what_the_window_would_join(silent_chat: Chat) -> None:
    app = await an_app(silent_chat, limits=Limits(dedupe_window=60))
    one, other = await send(silent_chat, app=app), await send(silent_chat, app=app, key="another")
    assert one.message_id != other.message_id
    without = await send(silent_chat, app=app, key=None)
    assert without.message_id not in {one.message_id, other.message_id}
    assert (await send(silent_chat, app=app, key=None)).message_id == without.message_id
