"""A host that follows what happens."""

import asyncio

import pytest

from chatledger import ClosedError, InvalidParameterError, NotFoundError
from chatledger.application.system_clock import new_id
from tests.embedding.hosting import DEADLINE, hosted, new_app


async def test_pages_and_followers_see_the_same_and_the_host_sees_all_of_it(tmp_path):
    async with hosted(tmp_path) as ledger:
        app = await new_app(ledger, tokens=1)
        await ledger.messages.send(app, "what the host asked", user="ada")
        found = []
        async with asyncio.timeout(DEADLINE):
            async for event in ledger.events.follow(
                app=app, types=["AppConfigured", "MessageCreated", "MessageCompleted"]
            ):
                found.append(event)
                if len(found) == 3:
                    break
        configured, created, completed = (event.fact.envelope.body for event in found)
        assert configured.configuration["settings"] == {"tokens": 1}
        assert created.query == "what the host asked"
        page = await ledger.events.page(app=app, types=["MessageCreated", "MessageCompleted"], limit=1)
        assert ([event.fact for event in page.events], page.has_more) == ([found[1].fact], True)
        page = await ledger.events.page(after=page.cursor, types=["MessageCompleted"])
        assert [event.fact.envelope.body for event in page.events] == [completed]
        assert page.events[0].cursor == found[2].cursor


async def test_what_cannot_be_is_refused(tmp_path):
    async with hosted(tmp_path) as ledger:
        with pytest.raises(InvalidParameterError, match="cursor"):
            await ledger.events.page(after="7")
        with pytest.raises(InvalidParameterError, match="Nothing"):
            await anext(ledger.events.follow(types=["Nothing"]))
        with pytest.raises(NotFoundError):
            await ledger.events.page(app=new_id())


async def test_a_follower_is_told_that_chatledger_was_closed(tmp_path):
    async with hosted(tmp_path) as ledger:
        following = ledger.events.follow(after="now")
        waiting = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
    with pytest.raises(ClosedError):
        await waiting
