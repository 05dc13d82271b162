"""More like this: the same question once more, as a new message."""

import msgspec
import pytest

from chatledger.application.commands.new_message import NewMessage
from chatledger.application.errors import FeatureDisabledError, NotFoundError, WrongModeError
from chatledger.application.ports.views import MessageView
from chatledger.domain.configuration import Switch
from tests.application.chat import Chat
from tests.support.fake_openai import FakeOpenAI, answer


@pytest.fixture
async def repeating(chat: Chat) -> Chat:
    """An app for completions that gives more of the same kind."""
    app = await chat.new_app("completion", tokens=2)
    configuration = msgspec.structs.replace(app.configuration, more_like_this=Switch(enabled=True))
    chat.app = msgspec.structs.replace(app, configuration=configuration)
    return chat


async def completion(chat: Chat, query: str = "a poem", user: str = "ada") -> MessageView:
    sent = await chat.application.sending.send(chat.caller(user), NewMessage(query=query, inputs={}))
    await chat.to_the_end(sent)
    return await chat.application.history.message(chat.caller(user), sent.message_id)


async def more_like(chat: Chat, original: MessageView, user: str | None = "ada") -> MessageView:
    caller = chat.caller(user)
    new = await chat.application.repeating.more_like(caller, original.message_id)
    sent = await chat.application.sending.send(caller, new)
    await chat.to_the_end(sent)
    return await chat.application.history.message(caller, sent.message_id)


async def test_a_new_message_asks_the_same(repeating):
    original = await completion(repeating, "/script text=poem")
    before = await repeating.events(original.message_id)
    other = await more_like(repeating, original)
    assert other.message_id != original.message_id
    assert other.conversation_id != original.conversation_id
    assert (other.query, other.answer, other.end_user_id) == (original.query, "poem", original.end_user_id)
    assert await repeating.events(original.message_id) == before


async def test_the_original_is_the_cause(repeating):
    original = await completion(repeating)
    other = await more_like(repeating, original)
    (asked, *_), _ = await repeating.application.facts.stream(original.message_id, 0, 1)
    (again, *_), _ = await repeating.application.facts.stream(other.message_id, 0, 1)
    assert again.context.causation_id == asked.envelope.event_id
    assert again.context.actor.kind == "end_user"


async def test_without_a_user_it_is_the_owners_again(repeating):
    original = await completion(repeating, user="bea")
    other = await more_like(repeating, original, user=None)
    assert other.end_user_id == original.end_user_id
    (again, *_), _ = await repeating.application.facts.stream(other.message_id, 0, 1)
    assert again.context.actor.kind == "api_key"


async def test_it_asks_what_was_asked_whatever_the_app_has_become(repeating):
    original = await completion(repeating, "/script text=poem")
    configuration = msgspec.convert(
        {
            "generator": "extractive",
            "more_like_this": {"enabled": True},
            "user_input_form": [{"variable": "name", "required": True}],
        },
        type(repeating.app.configuration),
    )
    repeating.app = msgspec.structs.replace(repeating.app, configuration=configuration)
    assert (await more_like(repeating, original)).answer == "poem"


async def test_a_generator_with_a_temperature_is_set_to_be_bolder(repeating):
    bolder = repeating.application.repeating._bolder
    assert bolder("openai_compatible", {"model": "m", "temperature": 0.1}) == {"model": "m", "temperature": 0.9}
    assert bolder("openai_compatible", {"model": "m"}) == {"model": "m", "temperature": 0.9}
    assert bolder("scripted", {"tokens": 1}) == {"tokens": 1}
    assert bolder("gone", {"tokens": 1}) == {"tokens": 1}


async def test_the_provider_hears_of_it(repeating):
    async with FakeOpenAI(answer("a poem"), answer("another")) as provider:
        settings = {"model": "m", "base_url": provider.base_url, "temperature": 0.1}
        configuration = msgspec.structs.replace(
            repeating.app.configuration, generator="openai_compatible", settings=settings
        )
        repeating.app = msgspec.structs.replace(repeating.app, configuration=configuration)
        original = await completion(repeating)
        assert (await more_like(repeating, original)).answer == "another"
    assert [asked.body["temperature"] for asked in provider.requests] == [0.1, 0.9]
    assert provider.requests[0].body["messages"] == provider.requests[1].body["messages"]


async def test_another_users_message_is_not_there(repeating):
    original = await completion(repeating)
    with pytest.raises(NotFoundError):
        await more_like(repeating, original, user="eve")


async def test_an_app_may_give_no_more(repeating):
    original = await completion(repeating)
    configuration = msgspec.structs.replace(repeating.app.configuration, more_like_this=Switch(enabled=False))
    repeating.app = msgspec.structs.replace(repeating.app, configuration=configuration)
    with pytest.raises(FeatureDisabledError):
        await more_like(repeating, original)


async def test_a_chat_gives_no_more(chat):
    message = await chat.answered("tokens=1")
    with pytest.raises(WrongModeError):
        await more_like(chat, message)
