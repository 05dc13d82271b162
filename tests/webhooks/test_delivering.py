"""What endpoints are told, in which order, and what becomes of what they do not take.

What has to do with the database is in the contract of deliveries, and in those tests here that run on both.
"""

import asyncio
from uuid import UUID

import pytest

from chatledger import Chatledger, InvalidParameterError, NotFoundError
from chatledger.adapters.persistence.deliveries import SqlDeliveries
from chatledger.adapters.webhooks import sender
from chatledger.application.webhooks import courier
from tests.embedding.hosting import new_app
from tests.support.databases import ON_SQLITE
from tests.support.receiver import CUT, Answer, Hook, Receiver
from tests.support.server import DEADLINE, a_context

TYPES = ["MessageCreated", "GenerationStarted", "AnswerChunkAppended", "MessageCompleted"]


async def answered(ledger: Chatledger, app: UUID, query: str = "hello", **more) -> UUID:
    sent = await ledger.messages.send(app, query, user="ada", **more)
    async for _ in ledger.messages.follow(sent.message_id):
        pass
    return sent.conversation_id


def names(receiver: Receiver) -> list[str]:
    return [event["type"].removeprefix("chatledger.") for event in receiver.events]


def positions(receiver: Receiver) -> list[int]:
    return [int(event["sequence"]) for event in receiver.events]


def order_of(hook: Hook) -> str:
    """The conversation that an event is of."""
    return hook.event["data"].get("conversation_id") or hook.event["subject"]


async def test_an_endpoint_is_told_and_can_check_who_told_it(open_ledger, receiver):
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=2)
        added = await ledger.webhooks.add(receiver.url, app=app, types=TYPES)
        await answered(ledger, app, "what was asked")
        await receiver.until(lambda it: "MessageCompleted" in names(it))
        assert names(receiver)[:2] == ["MessageCreated", "GenerationStarted"]
        assert positions(receiver) == sorted(positions(receiver))
        for hook in receiver.hooks:
            event = hook.verified(added.secret)
            assert hook.headers["content-type"] == "application/cloudevents+json"
            assert (event["specversion"], event["appid"]) == ("1.0", str(app))
        created = receiver.events[0]["data"]
        assert created["query"] == "what was asked"
        assert "parameters" not in created


@ON_SQLITE
async def test_only_what_was_asked_for_is_told(open_ledger, receiver):
    async with Receiver() as of_all, open_ledger() as ledger:
        app, other = await new_app(ledger, tokens=1), await new_app(ledger, tokens=1)
        await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])
        await ledger.webhooks.add(of_all.url)
        for asked in (app, other, app):
            await answered(ledger, asked)
        await of_all.until(lambda it: names(it).count("MessageCompleted") == 3)
        await receiver.until(lambda it: len(it.hooks) == 2)
        assert names(receiver) == ["MessageCreated"] * 2
        assert {event["appid"] for event in of_all.events} == {str(app), str(other)}
        assert {event["category"] for event in of_all.events} <= {"message", "conversation", "end_user"}


async def test_what_was_told_is_not_told_again_after_a_restart_and_what_came_meanwhile_is(open_ledger, receiver):
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])
        await answered(ledger, app)
        await receiver.until(lambda it: len(it.hooks) == 1)
    receiver.reply = lambda _: Answer(503)
    async with open_ledger() as ledger:
        await answered(ledger, app)
        await receiver.until(lambda it: len(it.hooks) >= 2)
    receiver.reply = lambda _: Answer()
    before = len(receiver.hooks)
    async with open_ledger() as ledger:
        await answered(ledger, app)
        await receiver.until(lambda it: len({hook.id for hook in it.hooks}) == 3)
        assert len({hook.id for hook in receiver.hooks[before:]}) == 2


@ON_SQLITE
@pytest.mark.parametrize("failure", [Answer(500), Answer(302), CUT], ids=["status", "redirect", "cut"])
async def test_a_conversation_that_fails_holds_up_itself_and_no_other(open_ledger, receiver, failure):
    refused: set[str] = set()
    receiver.reply = lambda hook: failure if order_of(hook) in refused else Answer()
    async with open_ledger(webhook_attempts=100) as ledger:
        app = await new_app(ledger, tokens=1)
        await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])
        poor, rich = await answered(ledger, app), await answered(ledger, app)
        await receiver.until(lambda it: len(it.hooks) == 2)
        refused.add(str(poor))
        await answered(ledger, app, "poor", conversation_id=poor)
        for number in range(3):
            await answered(ledger, app, f"rich {number}", conversation_id=rich)
            await answered(ledger, app, f"poor {number}", conversation_id=poor)
        await receiver.until(lambda it: _taken(it, refused, str(rich)) == ["hello", "rich 0", "rich 1", "rich 2"])
        assert _tried(receiver, str(poor)) == {"hello", "poor"}
        refused.clear()
        await receiver.until(lambda it: "poor 2" in _tried(it, str(poor)))
        told = [hook.event["data"]["query"] for hook in receiver.hooks if order_of(hook) == str(poor)]
        assert list(dict.fromkeys(told)) == ["hello", "poor", "poor 0", "poor 1", "poor 2"]


def _taken(receiver: Receiver, refused: set[str], conversation: str) -> list[str]:
    return [hook.event["data"]["query"] for hook in receiver.hooks if order_of(hook) == conversation]


def _tried(receiver: Receiver, conversation: str) -> set[str]:
    return {hook.event["data"]["query"] for hook in receiver.hooks if order_of(hook) == conversation}


async def test_what_is_never_taken_is_a_dead_letter_that_can_be_looked_at_and_replayed(open_ledger, receiver):
    poison = "what nobody takes"
    receiver.reply = lambda hook: Answer(422 if hook.event["data"].get("query") == poison else 204)
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        conversation = await answered(ledger, app, poison)
        await answered(ledger, app, "what comes after it", conversation_id=conversation)
        await receiver.until(lambda it: len({hook.id for hook in it.hooks}) == 2)
        (letter,), has_more = await _dead_letters(ledger, endpoint)
        assert (letter.error, letter.attempts, has_more) == ("422", 3, False)
        assert (await ledger.webhooks.get(endpoint)).standing.dead == 1
        tried = len(receiver.hooks)
        assert tried == 4

        receiver.reply = lambda _: Answer()
        assert await ledger.webhooks.replay_dead_letters(endpoint, [letter.position + 1]) == 0
        assert await ledger.webhooks.replay_dead_letters(endpoint, [letter.position]) == 1
        await receiver.until(lambda it: len(it.hooks) > tried)
        assert int(receiver.events[-1]["sequence"]) == letter.position
        assert receiver.hooks[-1].id == receiver.hooks[0].id
        assert (await ledger.webhooks.dead_letters(endpoint))[0] == []


async def _dead_letters(ledger: Chatledger, endpoint: UUID):
    """What there is of them, once there are some."""
    async with asyncio.timeout(DEADLINE):
        while not (found := await ledger.webhooks.dead_letters(endpoint))[0]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


@ON_SQLITE
async def test_an_endpoint_that_is_down_is_paused_and_nothing_dies_of_it(open_ledger, receiver):
    receiver.reply = lambda _: Answer(503)
    async with open_ledger(webhook_attempts=2, longest_webhook_delay=0.02) as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        await ledger.webhooks.disable(endpoint)
        for number in range(5):
            await answered(ledger, app, str(number))
        await ledger.webhooks.enable(endpoint)
        await receiver.until(lambda it: len(it.hooks) > 5 * 2 + 5)
        receiver.reply = lambda _: Answer()
        await receiver.until(lambda it: {event["data"]["query"] for event in it.events[-5:]} == set("01234"))
        assert (await ledger.webhooks.get(endpoint)).standing.dead == 0


@ON_SQLITE
async def test_who_is_gone_is_disabled_and_told_the_rest_once_enabled(open_ledger, receiver):
    receiver.reply = lambda _: Answer(410)
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        await answered(ledger, app, "first")
        await _until_disabled(ledger, endpoint, "gone")
        tried = len(receiver.hooks)
        receiver.reply = lambda _: Answer()
        await answered(ledger, app, "second")
        assert len(receiver.hooks) == tried
        await ledger.webhooks.enable(endpoint)
        await receiver.until(lambda it: len({hook.id for hook in it.hooks}) == 2)
        types = {"EndpointDisabled", "EndpointEnabled"}
        facts = [event.fact async for event in _until_now(ledger, types)]
        assert [type(fact.envelope.body).__name__ for fact in facts] == ["EndpointDisabled", "EndpointEnabled"]
        assert [fact.context.actor.kind for fact in facts] == ["system", "operator"]


async def _until_now(ledger: Chatledger, types):
    page = await ledger.events.page(types=types, limit=100)
    for event in page.events:
        yield event


async def _until_disabled(ledger: Chatledger, endpoint: UUID, cause: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await ledger.webhooks.get(endpoint)).endpoint.disabled_for != cause:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@ON_SQLITE
async def test_who_takes_nothing_for_too_long_is_disabled(open_ledger, receiver):
    receiver.reply = lambda _: Answer(500)
    async with open_ledger(webhook_give_up_hours=0.2 / 3_600, webhook_attempts=100) as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app)).endpoint_id
        await answered(ledger, app)
        await _until_disabled(ledger, endpoint, "failing")


@ON_SQLITE
async def test_who_was_disabled_for_failing_is_told_once_enabled_though_it_fails_once_more(open_ledger, receiver):
    receiver.reply = lambda _: Answer(500)
    async with open_ledger(webhook_give_up_hours=0.3 / 3_600, webhook_attempts=100) as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        await answered(ledger, app)
        await _until_disabled(ledger, endpoint, "failing")
        tried = len(receiver.hooks)
        receiver.reply = lambda _: Answer(500 if len(receiver.hooks) == tried + 1 else 204)
        await ledger.webhooks.enable(endpoint)
        await receiver.until(lambda it: len(it.hooks) == tried + 2)


@ON_SQLITE
async def test_those_that_were_dead_when_it_was_enabled_do_not_count(open_ledger, receiver, monkeypatch):
    monkeypatch.setattr(courier, "MOST_DEAD", 1)
    receiver.reply = lambda _: Answer(422)
    async with open_ledger(webhook_attempts=1) as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        conversation = await answered(ledger, app)
        await answered(ledger, app, conversation_id=conversation)
        await _until_disabled(ledger, endpoint, "dead_letters")
        receiver.reply = lambda hook: Answer(422 if hook.event["data"]["query"] == "one more" else 204)
        await answered(ledger, app, "one more", conversation_id=conversation)
        await answered(ledger, app, "what comes after it", conversation_id=conversation)
        await ledger.webhooks.enable(endpoint)
        await receiver.until(lambda it: it.events[-1]["data"]["query"] == "what comes after it")


@ON_SQLITE
async def test_time_in_which_there_is_nothing_to_try_is_no_failing(open_ledger, receiver):
    receiver.reply = lambda hook: Answer(204 if hook.event["data"]["query"] == "third" else 500)
    async with open_ledger(webhook_give_up_hours=0.5 / 3_600, webhook_attempts=1) as ledger:
        app = await new_app(ledger, tokens=1)
        await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])
        conversation = await answered(ledger, app, "first")
        await receiver.until(lambda it: len(it.hooks) == 1)
        await asyncio.sleep(0.7)
        await answered(ledger, app, "second", conversation_id=conversation)
        await answered(ledger, app, "third", conversation_id=conversation)
        await receiver.until(lambda it: len(it.hooks) == 3)


@ON_SQLITE
async def test_a_reply_that_cannot_be_read_is_a_failure_of_its_delivery(open_ledger, receiver, monkeypatch):
    def cannot_be_read(given: str, now: float) -> float | None:
        raise OverflowError(given)

    monkeypatch.setattr(sender, "read_retry_after", cannot_be_read)
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        await answered(ledger, app)
        (letter,), _ = await _dead_letters(ledger, endpoint)
        assert (letter.error, letter.attempts) == ("broken", 3)
        assert (await ledger.webhooks.test(endpoint)).outcome == "broken"


@ON_SQLITE
async def test_while_two_change_what_is_on_record_nothing_is_sent_before_both_are_done(open_ledger, receiver):
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        webhooks = ledger.webhooks._access._application.webhooks._webhooks
        async with webhooks.held(endpoint):
            async with webhooks.held(endpoint):
                pass
            await answered(ledger, app)
            await asyncio.sleep(0.2)
            assert not receiver.hooks
        await receiver.until(lambda it: len(it.hooks) == 1)


@ON_SQLITE
async def test_a_courier_that_has_ended_is_begun_again_where_the_endpoint_is_enabled(open_ledger, receiver):
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        await answered(ledger, app)
        await receiver.until(lambda it: len(it.hooks) == 1)
        ended, task = ledger.webhooks._access._application.webhooks._webhooks._running[endpoint]
        ended.close()
        await asyncio.wait([task])
        await answered(ledger, app)
        await receiver.until(lambda it: len(it.hooks) == 2)


@ON_SQLITE
async def test_who_is_told_nothing_writes_seldom(open_ledger, receiver, monkeypatch):
    saved, save = [], SqlDeliveries.save

    async def counted(self, *given):
        saved.append(given)
        await save(self, *given)

    monkeypatch.setattr(SqlDeliveries, "save", counted)
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        await ledger.webhooks.add(receiver.url, app=app, types=["FeedbackGiven"])
        for _ in range(5):
            await answered(ledger, app)
            await asyncio.sleep(0.25)
        assert len(saved) <= 1


@ON_SQLITE
async def test_retry_after_is_honoured(open_ledger, receiver):
    receiver.reply = lambda _: Answer(429, {"retry-after": "3600"})
    async with open_ledger(webhook_attempts=100) as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        await answered(ledger, app, "first")
        await receiver.until(lambda it: len(it.hooks) == 1)
        await answered(ledger, app, "second")
        await asyncio.sleep(0.5)
        assert len(receiver.hooks) == 1
    receiver.reply = lambda _: Answer()
    async with open_ledger() as ledger:
        await answered(ledger, app, "third")
        await asyncio.sleep(0.3)
        assert len(receiver.hooks) == 1
        await ledger.webhooks.replay(endpoint, after=None)
        await receiver.until(lambda it: len({hook.id for hook in it.hooks}) == 3)


async def test_everything_after_a_place_is_told_once_more_under_the_same_ids(open_ledger, receiver):
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        await answered(ledger, app, "first")
        await receiver.until(lambda it: len(it.hooks) == 1)
        cursor = (await ledger.events.page(after="now")).cursor
        await answered(ledger, app, "second")
        await receiver.until(lambda it: len(it.hooks) == 2)
        await ledger.webhooks.replay(endpoint, after=cursor)
        await receiver.until(lambda it: len(it.hooks) == 3)
        assert receiver.hooks[2].id == receiver.hooks[1].id
        await ledger.webhooks.replay(endpoint, after=None)
        await receiver.until(lambda it: len(it.hooks) == 5)
        assert {hook.id for hook in receiver.hooks[3:]} == {hook.id for hook in receiver.hooks[:2]}


@ON_SQLITE
async def test_a_replay_from_a_place_that_it_has_not_come_to_passes_over_nothing(open_ledger, receiver):
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        endpoint = (await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])).endpoint_id
        await ledger.webhooks.disable(endpoint)
        for query in ("first", "second"):
            await answered(ledger, app, query)
        await ledger.webhooks.replay(endpoint, after="now")
        await ledger.webhooks.enable(endpoint)
        await receiver.until(lambda it: {event["data"]["query"] for event in it.events} == {"first", "second"})


@ON_SQLITE
async def test_while_a_secret_makes_way_both_sign_and_then_the_new_one_alone(open_ledger, receiver):
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        added = await ledger.webhooks.add(receiver.url, app=app, types=["MessageCreated"])
        new = await ledger.webhooks.rotate_secret(added.endpoint_id)
        await answered(ledger, app)
        await receiver.until(lambda it: len(it.hooks) == 1)
        assert receiver.hooks[0].verified(new) == receiver.hooks[0].verified(added.secret)
        newest = await ledger.webhooks.rotate_secret(added.endpoint_id, overlap=0)
        await answered(ledger, app)
        await receiver.until(lambda it: len(it.hooks) == 2)
        receiver.hooks[1].verified(newest)
        assert receiver.hooks[1].headers["webhook-signature"].count("v1,") == 1


async def test_nothing_of_an_erased_persons_is_sent_from_what_was_waiting(open_ledger, receiver):
    receiver.reply = lambda _: Answer(503)
    async with open_ledger(webhook_attempts=100) as ledger:
        app = await new_app(ledger, tokens=3)
        added = await ledger.webhooks.add(receiver.url, app=app)
        await answered(ledger, app, "a secret of Ada's")
        await receiver.until(lambda it: len(it.hooks) >= 1)
        (seen,) = (await ledger.events.page(types=["EndUserSeen"])).events
        application = ledger.webhooks._access._application
        await application.erasing.request(seen.fact.envelope.stream_id, a_context())
        async with asyncio.timeout(DEADLINE):
            while not (await ledger.events.page(types=["EndUserErased"])).events:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        told = len(receiver.hooks)
        receiver.reply = lambda _: Answer()
        wanted = {"chatledger.MessageCreated", "chatledger.EndUserSeen"}
        await receiver.until(lambda it: wanted <= {event["type"] for event in it.events if event.get("erased")})
        later = receiver.hooks[told + 1 :]  # one may have been under way when the keys were destroyed
        assert [hook.event for hook in later if b"secret" in hook.body or b'"ada"' in hook.body] == []
        for hook in later:
            hook.verified(added.secret)


@ON_SQLITE
async def test_a_trial_tells_what_the_endpoint_says(open_ledger, receiver):
    async with open_ledger() as ledger:
        added = await ledger.webhooks.add(receiver.url)
        tried = await ledger.webhooks.test(added.endpoint_id)
        assert (tried.is_success, tried.outcome) == (True, "204")
        assert receiver.hooks[0].verified(added.secret)["type"] == "chatledger.webhook.test"
        receiver.reply = lambda _: CUT
        tried = await ledger.webhooks.test(added.endpoint_id)
        assert (tried.is_success, tried.outcome) == (False, "broken")


@ON_SQLITE
async def test_where_it_is_removed_nothing_is_sent_and_nothing_can_be_done(open_ledger, receiver):
    async with open_ledger() as ledger:
        app = await new_app(ledger, tokens=1)
        added = await ledger.webhooks.add(receiver.url, app=app)
        await ledger.webhooks.remove(added.endpoint_id)
        await answered(ledger, app)
        assert await ledger.webhooks.list() == []
        for doing in (ledger.webhooks.remove, ledger.webhooks.enable, ledger.webhooks.test, ledger.webhooks.get):
            with pytest.raises(NotFoundError):
                await doing(added.endpoint_id)
        assert not receiver.hooks


IMPOSSIBLE = [
    ("url", {"url": "ftp://example.org/"}),
    ("url", {"url": "https://"}),
    ("url", {"url": "https://user:secret@example.org/"}),
    ("url", {"url": "https://example.org/#part"}),
    ("url", {"url": "https://exämple.org/"}),
    ("url", {"url": "https://example.org:0/"}),
    ("url", {"url": "https://169.254.169.254/latest"}),
    ("url", {"url": "https://[::1]/"}),
    ("url", {"url": "https://10.0.0.1/"}),
    ("url", {"url": "http://8.8.8.8/"}),
    ("url", {"url": "https://8.8.8.8/" + "a" * 2_048}),
    ("types", {"types": ["NoSuchEvent"]}),
    ("secret", {"secret": "whsec_c2hvcnQ="}),
    ("after", {"after": "7"}),
]


@ON_SQLITE
async def test_what_cannot_be_is_refused_by_name(open_ledger, receiver):
    async with open_ledger() as ledger:
        for field, given in IMPOSSIBLE:
            with pytest.raises(InvalidParameterError) as refused:
                await ledger.webhooks.add(**({"url": receiver.url} | given))
            assert refused.value.field == field, given
        assert await ledger.webhooks.list() == []
