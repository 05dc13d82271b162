"""What a host is to the visitors who come over HTTP, and what it has of what they have."""

from uuid import UUID

import pytest

from chatledger import Chatledger, InvalidParameterError, NotFoundError, Settings, Visitor, WrongModeError
from chatledger.application.errors import ForbiddenError
from tests.embedding.hosting import hosted, new_app
from tests.support.databases import ON_SQLITE
from tests.support.server import live_server

NOBODY_S = UUID(int=1)

pytestmark = ON_SQLITE


async def test_a_host_reads_what_visitors_say_and_is_none_of_them(tmp_path, database_url):
    async with live_server(tmp_path / "data") as live:
        app = await live.new_app(tokens=1)
        ada = await live.new_visitor(app.site_code)
        sent = (await ada.post("/api/chat-messages", json={"inputs": {}, "query": "Anybody here?"})).json()
        message_id, conversation_id = UUID(sent["message_id"]), UUID(sent["conversation_id"])

    async with Chatledger.open(Settings(data_dir=tmp_path / "data")) as ledger:
        (read,) = (await ledger.messages.history(app.app_id, conversation_id)).items
        visitor = str(read.end_user_id)
        assert read.query == "Anybody here?"
        assert not (await ledger.conversations.list(app.app_id, user=visitor)).items
        with pytest.raises(NotFoundError):
            await ledger.messages.get(message_id, app=app.app_id, user=visitor)
        with pytest.raises(NotFoundError):
            await ledger.messages.send(app.app_id, "I am", user=visitor, conversation_id=conversation_id)


async def test_a_host_acts_for_a_visitor_whom_it_does_not_name(tmp_path, database_url):
    async with live_server(tmp_path / "data") as live:
        app = await live.new_app(tokens=1)
        passport = await live.new_passport(app.site_code)
        sent = await live.client(passport).post("/api/chat-messages", json={"inputs": {}, "query": "Anybody here?"})
        conversation_id = UUID(sent.json()["conversation_id"])

    async with Chatledger.open(Settings(data_dir=tmp_path / "data")) as ledger:
        (read,) = (await ledger.messages.history(app.app_id, conversation_id)).items
        ada = Visitor(read.end_user_id)
        await ledger.messages.ask(app.app_id, "We are.", user=ada, conversation_id=conversation_id)
        await ledger.messages.rate(app.app_id, read.message_id, "like", user=ada)
        (listed,) = (await ledger.conversations.list(app.app_id, user=ada)).items
        assert listed.conversation_id == conversation_id
        other = await new_app(ledger)
        for unknown, where in ((Visitor(NOBODY_S), app.app_id), (ada, other)):
            with pytest.raises(NotFoundError) as refused:
                await ledger.messages.send(where, "Who?", user=unknown)
            assert refused.value.missing == "end_user"
        with pytest.raises(InvalidParameterError) as unfit:
            await ledger.messages.send(app.app_id, "Who?", user=Visitor("ada"))
        assert unfit.value.field == "user"

    async with live_server(tmp_path / "data") as live:
        page = await live.client(passport).get("/api/messages", params={"conversation_id": str(conversation_id)})
        assert [message["query"] for message in page.json()["data"]] == ["Anybody here?", "We are."]
        assert page.json()["data"][0]["feedback"] == {"rating": "like"}


async def test_completions_that_a_person_keeps_at_hand(tmp_path, database_url):
    async with hosted(tmp_path) as ledger:
        app, chat = await new_app(ledger, "completion", tokens=1), await new_app(ledger, tokens=1)
        made = [(await ledger.completions.ask(app, query=str(number), user="ada")).message_id for number in range(3)]
        for message_id in (made[1], made[2], made[0], made[1]):
            await ledger.completions.save(app, message_id, user="ada")
        await ledger.completions.unsave(app, made[2], user="ada")
        await ledger.completions.unsave(app, made[2], user="ada")

        first = await ledger.completions.saved(app, user="ada", limit=1)
        rest = await ledger.completions.saved(app, user="ada", last_id=made[0])
        assert ([view.message_id for view in first.items], first.has_more) == ([made[0]], True)
        assert ([view.message_id for view in rest.items], rest.has_more) == ([made[1]], False)
        assert not (await ledger.completions.saved(app, user="bob")).items
        for doing in (ledger.completions.save, ledger.completions.unsave):
            with pytest.raises(NotFoundError):
                await doing(app, made[0], user="bob")
            with pytest.raises(WrongModeError):
                await doing(chat, made[0], user="ada")
        with pytest.raises(InvalidParameterError) as refused:
            await ledger.completions.saved(app, user="ada", last_id=NOBODY_S)
        assert refused.value.field == "last_id"


async def test_conversations_that_a_person_has_above_the_others(tmp_path, database_url):
    async with hosted(tmp_path) as ledger:
        app = await new_app(ledger, tokens=1)
        asked = [(await ledger.messages.ask(app, str(number), user="ada")).conversation_id for number in range(3)]
        await ledger.conversations.pin(app, asked[0], user="ada")
        await ledger.conversations.pin(app, asked[2], user="ada")
        await ledger.conversations.unpin(app, asked[2], user="ada")

        listed = (await ledger.conversations.list(app, user="ada")).items
        assert [(view.conversation_id, view.is_pinned) for view in listed] == [
            (asked[2], False),
            (asked[1], False),
            (asked[0], True),
        ]
        for doing in (ledger.conversations.pin, ledger.conversations.unpin):
            with pytest.raises(NotFoundError):
                await doing(app, asked[0], user="bob")


async def test_a_site_gets_another_code(tmp_path, database_url):
    async with hosted(tmp_path) as ledger:
        app = await new_app(ledger, tokens=1)
        first = (await ledger.apps.get(app)).site_code
        second = await ledger.apps.renew_site(app)
        assert first != second == (await ledger.apps.get(app)).site_code
        await ledger.apps.delete(app)
        with pytest.raises(ForbiddenError, match="no longer exists"):
            await ledger.apps.renew_site(app)
