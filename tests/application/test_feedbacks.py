"""All ratings of an app, batch by batch."""

import pytest

from chatledger.application.periods import accept_period
from chatledger.application.ports.views import Period
from chatledger.application.queries.feedbacks import Feedbacks
from tests.application.chat import Chat


async def rate(chat: Chat, count: int) -> list:
    message_ids = []
    for _ in range(count):
        sent = await chat.send("tokens=1")
        await chat.to_the_end(sent)
        await chat.application.rating.rate(chat.caller(), sent.message_id, "like", None)
        message_ids.append(sent.message_id)
    return message_ids


async def batches_of(feedbacks: Feedbacks, chat: Chat, period: Period = Period()) -> list:  # noqa: B008 - frozen
    return [[view.message_id for view in batch] async for batch in feedbacks.every(chat.caller(), period)]


@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (1, [1]), (2, [2, 0]), (5, [2, 2, 1])], ids=str)
async def test_each_comes_once_newest_first(chat: Chat, count: int, sizes: list[int]) -> None:
    given = await rate(chat, count)
    batches = await batches_of(Feedbacks(chat.application.views, None, batch=2), chat)
    assert [len(batch) for batch in batches] == sizes
    assert [message_id for batch in batches for message_id in batch] == given[::-1]


async def test_what_is_given_meanwhile_is_not_among_them(chat: Chat) -> None:
    given = await rate(chat, 2)
    every = Feedbacks(chat.application.views, None, batch=1).every(chat.caller())
    first = await anext(every)
    await rate(chat, 1)
    assert [view.message_id for view in first] == given[1:]
    assert [view.message_id async for batch in every for view in batch] == given[:1]


async def test_a_period_cuts_the_batches_too(chat: Chat) -> None:
    given = await rate(chat, 3)
    ((_, second, _),) = [batch async for batch in chat.application.feedbacks.every(chat.caller())]
    period = Period(second.created_at, None)
    assert await batches_of(Feedbacks(chat.application.views, None, batch=1), chat, period) == [
        given[2:],
        given[1:2],
        [],
    ]


def test_days_and_times_are_in_utc() -> None:
    day = 86_400_000_000
    assert accept_period("1970-01-02", "1970-01-02") == Period(day, 2 * day)
    assert accept_period("1970-01-02T01:00:00+01:00", "1970-01-02t00:00:00.000001z") == Period(day, day + 1)
    assert accept_period(None, None) == Period()
