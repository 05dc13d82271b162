"""A host's own projections and handlers, as its methods show them; what they are given, others test."""

import uuid

import pytest
import sqlalchemy as sa

from chatledger import (
    ClosedError,
    FeedbackGiven,
    Handler,
    InvalidParameterError,
    SubscriptionProblemError,
)
from tests.embedding.hosting import first_text, hosted, new_app
from tests.support.host_tables import SEEN, SeenEvents


class Ratings:
    """A handler that fails as long as it is told to."""

    def __init__(self):
        self.is_broken = True
        self.seen = []
        self.handler = Handler(name="ratings", handle=self.handle, since="now")

    async def handle(self, fact):
        if isinstance(fact.envelope.body, FeedbackGiven):
            if self.is_broken:
                raise ZeroDivisionError
            self.seen.append(fact.envelope.body.rating)


async def test_a_projection_follows_and_is_read(tmp_path, database_url):
    settings = {"database_url": database_url, "durability": "relaxed"}
    projection = SeenEvents()
    async with hosted(tmp_path, projections=[projection], **settings) as ledger:
        app = await new_app(ledger, tokens=2)
        sent = await ledger.messages.ask(app, "hello", user="ada")
        await ledger.subscriptions.caught_up(projection.name)
        versions = await ledger.subscriptions.read(lambda connection: seen_versions(connection, sent.message_id))
        assert versions == [fact.envelope.version for fact in (await ledger.messages.events(sent.message_id)).items]
        await ledger.subscriptions.rebuild(projection.name)
        await ledger.subscriptions.caught_up(projection.name)
        again = await ledger.subscriptions.read(lambda connection: seen_versions(connection, sent.message_id))
        assert again == versions
    with pytest.raises(ClosedError):
        await ledger.subscriptions.status()


def seen_versions(connection, message_id):
    return list(connection.execute(sa.select(SEEN.c.version).where(SEEN.c.stream_id == message_id)).scalars())


async def test_what_a_handler_fails_on_is_parked_until_it_is_retried(tmp_path):
    ratings = Ratings()
    async with hosted(tmp_path, handlers=[ratings.handler], subscription_attempts=1) as ledger:
        app = await new_app(ledger, tokens=2)
        sent = await ledger.messages.ask(app, "hello", user="ada")
        await ledger.messages.rate(app, sent.message_id, "like", user="ada")
        await ledger.subscriptions.caught_up("ratings")
        (parked,) = await ledger.subscriptions.parked("ratings")
        assert (parked.stream_id, parked.error) == (sent.message_id, "ZeroDivisionError")
        (status,) = await ledger.subscriptions.status()
        assert (status.name, status.lag, status.parked) == ("ratings", 0, 1)
        ratings.is_broken = False
        assert await ledger.subscriptions.retry("ratings", sent.message_id)
        assert ratings.seen == ["like"]
        for refused in (
            ledger.subscriptions.retry("ratings", sent.message_id),
            ledger.subscriptions.retry("ratings", uuid.uuid4()),
            ledger.subscriptions.retry("ratings", str(sent.message_id)),
        ):
            with pytest.raises(InvalidParameterError) as error:
                await refused
            assert error.value.field == "stream_id"
        with pytest.raises(SubscriptionProblemError, match="ratings"):
            await ledger.subscriptions.rebuild("ratings")


async def test_one_that_is_not_there(tmp_path):
    async with hosted(tmp_path) as ledger:
        assert await ledger.subscriptions.status() == []
        for refused in (
            ledger.subscriptions.caught_up("nobody"),
            ledger.subscriptions.parked("nobody"),
            ledger.subscriptions.rebuild("nobody"),
            ledger.subscriptions.retry("nobody", uuid.uuid4()),
        ):
            with pytest.raises(InvalidParameterError, match="'nobody'") as error:
                await refused
            assert error.value.field == "name"


async def test_two_of_one_name_are_refused_and_leave_the_store_free(tmp_path):
    with pytest.raises(SubscriptionProblemError, match="ratings"):
        async with hosted(tmp_path, handlers=[Ratings().handler, Ratings().handler]):
            pass
    async with hosted(tmp_path, handlers=[Ratings().handler]):
        pass


async def test_a_closing_parks_nothing_that_a_handler_would_do_with_what_is_closing(tmp_path):
    """The answer goes on while chatledger closes; a handler that can no longer use it waits for the next opening."""
    seen, place = [], {}

    async def look_back(fact):
        if fact.envelope.category != "message":
            return
        message = await place["ledger"].messages.get(fact.envelope.stream_id)
        seen.append((fact.envelope.position, message.version))

    handler = Handler(name="look back", handle=look_back, since="first")
    several = {"shutdown_grace": 5, "subscription_attempts": 1, "flush_interval_ms": 0}
    async with hosted(tmp_path, handlers=[handler], **several) as place["ledger"]:
        app = await new_app(place["ledger"], tokens=40, interval_ms=20)
        sent = await place["ledger"].messages.send(app, "hello", user="ada")
        await first_text(place["ledger"], sent.message_id)
    assert len(seen) < 40
    async with hosted(tmp_path, handlers=[handler], **several) as place["ledger"]:
        await place["ledger"].subscriptions.caught_up("look back")
        assert await place["ledger"].subscriptions.parked("look back") == []
        last = (await place["ledger"].messages.events(sent.message_id, limit=100)).items[-1]
    assert seen[-1][0] == last.envelope.position
