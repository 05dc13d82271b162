"""Guards of a commit that count: the unfinished messages of an app, and equal requests of a person."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from chatledger.adapters.persistence.views import SqlViews
from chatledger.application.app_limits import AppLimits
from chatledger.application.errors import QuotaUsedUpError
from chatledger.application.ledger.hand_ins import (
    AlreadyRunningError,
    CeilingReachedError,
    HandIn,
    KeyInUseError,
    NewEvent,
    NotIdleError,
    ReplayedBeforeError,
)
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.storage import (
    CeilingGuard,
    Guard,
    IdempotencyGuard,
    IdleGuard,
    RepeatGuard,
    ReplayGuard,
)
from chatledger.application.ports.views import AppView
from chatledger.application.system_clock import new_id
from chatledger.domain.configuration import AppConfiguration, Limits
from chatledger.domain.events import MessageCreated
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from tests.persistence.stores import Store, a_question, running_writer
from tests.persistence.test_group_commit import a_hand_in, outcomes

APP, ANN, BOB = new_id(), new_id(), new_id()
MINUTE = 60_000_000


@pytest.fixture
async def writer(store: Store) -> AsyncIterator[GroupCommitWriter]:
    async with running_writer(store, asyncio.get_running_loop()) as running:
        yield running


class Asking:
    """Messages on their way in and to their end, as hand-ins."""

    def __init__(self, store: Store) -> None:
        self._keyring = store.keyring
        self._keys: dict[UUID, UUID] = {}

    def ask(self, app_id: UUID = APP, ceiling: int = 0, end_user_id: UUID = ANN, equal_to: str | None = None) -> HandIn:
        question = a_question(app_id=app_id, end_user_id=end_user_id, fingerprint=equal_to)
        guards = [CeilingGuard(app_id, ceiling)] if ceiling else []
        guards += [RepeatGuard(end_user_id, equal_to, MINUTE)] if equal_to else []
        return self._begin(question, guards)

    def _begin(self, question: MessageCreated, guards: list[Guard]) -> HandIn:
        key = self._keyring.new_key(None)
        message = Message.create(new_id(), question)
        self._keys[message.id] = key.key_id
        return self._hand_in(message, guards=guards, new_keys=[key])

    def ask_under(self, key: str, end_user_id: UUID = ANN) -> HandIn:
        question = a_question(app_id=APP, end_user_id=end_user_id, idempotency_key=key)
        return self._begin(question, [IdempotencyGuard(end_user_id, key, MINUTE)])

    def ask_in(self, conversation_id: UUID, *, only_if_idle: bool) -> HandIn:
        question = a_question(app_id=APP, end_user_id=ANN, conversation_id=conversation_id)
        return self._begin(question, [IdleGuard(conversation_id)] if only_if_idle else [])

    def replay(self, message_id: UUID, *, force: bool = False) -> HandIn:
        question = a_question(app_id=APP, end_user_id=ANN, replayed_from=message_id)
        return self._begin(question, [] if force else [ReplayGuard(message_id)])

    def fail(self, asked: HandIn) -> HandIn:
        (message,) = asked.folded.values()
        again = Message.fold(message.id, [event.recorded.body for event in asked.events])
        again.fail(0, "internal_server_error", "")
        return self._hand_in(again)

    def end(self, asked: HandIn, tokens: int = 0) -> HandIn:
        (message,) = asked.folded.values()
        again = Message.fold(message.id, [event.recorded.body for event in asked.events])
        again.start_attempt("w")
        again.complete(1, Usage(total_tokens=tokens), "stop", "")
        return self._hand_in(again)

    def _hand_in(self, message: Message, **options) -> HandIn:
        key_id = self._keys[message.id]
        events = [NewEvent(recorded, "message", new_id(), key_id) for recorded in message.collect_events()]
        return a_hand_in(*events, folded={message.id: message}, **options)


@pytest.fixture
def asking(store: Store) -> Asking:
    return Asking(store)


def kinds(results: list[object]) -> list[object]:
    return [result if isinstance(result, type) else "held" for result in results]


async def test_a_ceiling_holds_within_a_group_and_after_it(writer: GroupCommitWriter, asking: Asking) -> None:
    first = await outcomes(writer, *(asking.ask(ceiling=3) for _ in range(5)))
    assert kinds(first) == ["held"] * 3 + [CeilingReachedError] * 2
    assert await outcomes(writer, asking.ask(ceiling=3)) == [CeilingReachedError]
    assert kinds(await outcomes(writer, asking.ask(ceiling=4), asking.ask())) == ["held"] * 2


async def test_each_app_has_its_own_ceiling(writer: GroupCommitWriter, asking: Asking) -> None:
    other = new_id()
    hand_ins = [asking.ask(app_id, ceiling=1) for app_id in (APP, other, APP, other)]
    assert kinds(await outcomes(writer, *hand_ins)) == ["held"] * 2 + [CeilingReachedError] * 2


async def test_what_ends_makes_room_for_what_follows_it(writer: GroupCommitWriter, asking: Asking) -> None:
    one, two = asking.ask(ceiling=2), asking.ask(ceiling=2)
    await outcomes(writer, one, two)
    later = await outcomes(writer, asking.ask(ceiling=2), asking.end(one), asking.ask(ceiling=2), asking.ask(ceiling=2))
    assert kinds(later) == [CeilingReachedError, "held", "held", CeilingReachedError]
    await outcomes(writer, asking.end(two))
    assert kinds(await outcomes(writer, asking.ask(ceiling=2))) == ["held"]


async def test_who_is_refused_takes_no_room(writer: GroupCommitWriter, asking: Asking) -> None:
    torn = msgspec.structs.replace(asking.ask(ceiling=1), expected={new_id(): 1})
    results = await outcomes(writer, torn, asking.ask(ceiling=1))
    assert kinds(results)[1] == "held"


async def test_an_equal_request_is_refused_while_the_first_is_unfinished(
    writer: GroupCommitWriter, asking: Asking
) -> None:
    first = asking.ask(equal_to="a")
    together = await outcomes(writer, first, asking.ask(equal_to="a"), asking.ask(equal_to="b"))
    assert kinds(together) == ["held", AlreadyRunningError, "held"]
    others = await outcomes(writer, asking.ask(equal_to="a"), asking.ask(equal_to="a", end_user_id=BOB))
    assert kinds(others) == [AlreadyRunningError, "held"]
    await outcomes(writer, asking.end(first))
    assert kinds(await outcomes(writer, asking.ask(equal_to="a"))) == ["held"]


async def test_a_key_stands_for_one_message_of_a_person(writer: GroupCommitWriter, asking: Asking) -> None:
    first = asking.ask_under("a")
    together = await outcomes(writer, first, asking.ask_under("a"), asking.ask_under("a", BOB), asking.ask_under("b"))
    assert kinds(together) == ["held", KeyInUseError, "held", "held"]
    await outcomes(writer, asking.end(first))
    assert kinds(await outcomes(writer, asking.ask_under("a"))) == [KeyInUseError]


async def test_after_its_window_a_key_is_free_again(store: Store, writer: GroupCommitWriter, asking: Asking) -> None:
    await outcomes(writer, asking.ask_under("a"))
    store.clock.pass_time(seconds=59)
    assert kinds(await outcomes(writer, asking.ask_under("a"))) == [KeyInUseError]
    store.clock.pass_time(seconds=2)
    assert kinds(await outcomes(writer, asking.ask_under("a"), asking.ask_under("a"))) == ["held", KeyInUseError]


async def test_a_failed_message_is_replayed_once_until_that_has_failed_too(
    writer: GroupCommitWriter, asking: Asking
) -> None:
    one, other = new_id(), new_id()
    first = asking.replay(one)
    together = await outcomes(writer, first, asking.replay(one), asking.replay(other), asking.replay(one, force=True))
    assert kinds(together) == ["held", ReplayedBeforeError, "held", "held"]
    assert kinds(await outcomes(writer, asking.replay(one))) == [ReplayedBeforeError]

    another = new_id()
    insisting = asking.replay(another, force=True)
    assert kinds(await outcomes(writer, insisting, asking.replay(another))) == ["held", ReplayedBeforeError]
    await outcomes(writer, asking.fail(insisting))
    last = asking.replay(another)
    assert kinds(await outcomes(writer, last)) == ["held"]
    await outcomes(writer, asking.end(last))
    assert kinds(await outcomes(writer, asking.replay(another))) == [ReplayedBeforeError]


async def test_a_conversation_is_idle_once_all_its_messages_have_ended(
    writer: GroupCommitWriter, asking: Asking
) -> None:
    place, elsewhere = new_id(), new_id()
    first, second = asking.ask_in(place, only_if_idle=True), asking.ask_in(place, only_if_idle=False)
    other = asking.ask_in(elsewhere, only_if_idle=True)
    together = await outcomes(writer, first, asking.ask_in(place, only_if_idle=True), second, other)
    assert kinds(together) == ["held", NotIdleError, "held", "held"]
    await outcomes(writer, asking.end(first))
    assert kinds(await outcomes(writer, asking.ask_in(place, only_if_idle=True))) == [NotIdleError]
    later = await outcomes(writer, asking.end(second), asking.ask_in(place, only_if_idle=True))
    assert kinds(later) == ["held", "held"]


async def test_after_its_window_an_equal_request_is_another_one(
    store: Store, writer: GroupCommitWriter, asking: Asking
) -> None:
    await outcomes(writer, asking.ask(equal_to="a"))
    store.clock.pass_time(seconds=59)
    assert kinds(await outcomes(writer, asking.ask(equal_to="a"))) == [AlreadyRunningError]
    store.clock.pass_time(seconds=2)
    assert kinds(await outcomes(writer, asking.ask(equal_to="a"))) == ["held"]


async def test_a_quota_is_one_days_in_utc(store: Store, writer: GroupCommitWriter, asking: Asking) -> None:
    """Used up in the evening, whole again at midnight; what had ended before counts for the day before."""
    views = SqlViews(store.ledger._reader, RowSeals(store.keyring))
    limits = AppLimits(views, store.keyring, store.clock, most_at_once=0)
    app = AppView(
        app_id=APP,
        mode="chat",
        name="",
        key_id=new_id(),
        created_at=0,
        status="normal",
        site_code="",
        configuration=AppConfiguration(generator="", limits=Limits(tokens_per_day=10)),
    )

    async def answer(tokens: int) -> None:
        asked = asking.ask()
        await outcomes(writer, asked)
        await outcomes(writer, asking.end(asked, tokens))

    store.clock.at = datetime(2026, 3, 1, 23, 59, 29, 500_000, tzinfo=UTC)
    await answer(9)
    await limits.require_quota(app)
    await answer(1)
    with pytest.raises(QuotaUsedUpError) as refusal:
        await limits.require_quota(app)
    assert refusal.value.retry_after == 31
    store.clock.pass_time(seconds=31)
    await limits.require_quota(app)
    await answer(12)
    with pytest.raises(QuotaUsedUpError) as refusal:
        await limits.require_quota(app)
    assert refusal.value.retry_after == 86_400
    assert store.query("SELECT day, tokens FROM token_usage ORDER BY day") == [(20_513, 10), (20_514, 12)]
