"""Where a replay stands: what the next message of its conversation goes on from, and what it is told of."""

from typing import NamedTuple

import pytest

from chatledger.application.context import OPERATOR, SYSTEM, Context
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from tests.application.chat import Chat
from tests.support.databases import ON_SQLITE


class Step(NamedTuple):
    """A message: after the one before it in time unless it names another, or in place of the one that it replays."""

    name: str
    fails: bool = False
    after: str | None = None
    replays: str | None = None


def said(name: str, after: str | None = None) -> Step:
    return Step(name, after=after)


def fails(name: str, after: str | None = None) -> Step:
    return Step(name, fails=True, after=after)


def again(original: str, name: str = "again") -> Step:
    return Step(name, replays=original)


def fails_again(original: str, name: str = "again") -> Step:
    return Step(name, fails=True, replays=original)


# The steps, what the next message goes on from, and the answers that it is told of.
TABLE = {
    "of the newest": ([said("one"), fails("two"), again("two")], "again", ["one", "again"]),
    "of the newest, in vain": ([said("one"), fails("two"), fails_again("two")], "again", ["one"]),
    "of the newest, before one more": (
        [said("one"), fails("two"), again("two"), said("three")],
        *("three", ["one", "again", "three"]),
    ),
    "of an older one": ([said("one"), fails("two"), said("three"), again("two")], "three", ["one", "three"]),
    "of an older one, in vain": (
        [said("one"), fails("two"), said("three"), fails_again("two")],
        *("three", ["one", "three"]),
    ),
    "of the first": ([fails("one"), said("two"), said("three"), again("one")], "three", ["two", "three"]),
    "of the first, in vain": ([fails("one"), said("two"), fails_again("one")], "two", ["two"]),
    "of the only one": ([fails("one"), again("one")], "again", ["again"]),
    "of the newest, twice": (
        [said("one"), fails("two"), fails_again("two", "first"), again("two", "second")],
        *("second", ["one", "second"]),
    ),
    "of the newest, and of its replay": (
        [said("one"), fails("two"), fails_again("two", "first"), again("first", "second")],
        *("second", ["one", "second"]),
    ),
    "of an older one, twice": (
        [said("one"), fails("two"), said("three"), fails_again("two", "first"), again("two", "second")],
        *("three", ["one", "three"]),
    ),
    "of an older one, and of its replay": (
        [said("one"), fails("two"), said("three"), fails_again("two", "first"), again("first", "second")],
        *("three", ["one", "three"]),
    ),
    "of the newest, and of it once it is an older one": (
        [said("one"), fails("two"), fails_again("two", "first"), said("three"), again("two", "second")],
        *("three", ["one", "three"]),
    ),
    "of all that failed": (
        [fails("one"), said("two"), fails("three"), again("one", "first"), again("three", "third")],
        *("third", ["two", "third"]),
    ),
    "of the newest of a branch": (
        [said("one"), said("two"), fails("other", after="one"), again("other")],
        *("again", ["one", "again"]),
    ),
    "of an older one of a branch": (
        [said("one"), said("two"), fails("other", after="one"), said("more", after="other"), again("other")],
        *("more", ["one", "more"]),
    ),
    "of what a branch has left behind": (
        [said("one"), fails("two"), said("other", after="one"), again("two")],
        *("other", ["one", "other"]),
    ),
    "with a branch that goes on from it": (
        [said("one"), fails("two"), said("three"), again("two"), said("more", after="again")],
        *("more", ["one", "again", "more"]),
    ),
}


@ON_SQLITE
@pytest.mark.parametrize(("steps", "followed", "answers"), TABLE.values(), ids=TABLE)
async def test_what_is_said_next_goes_on_from_what_was_said_last(open_chat, steps, followed, answers):
    async with open_chat(with_worker=False) as chat:
        views, names, conversation = chat.application.views, {}, None
        for step in [*steps, said("next")]:
            if step.replays is not None:
                context = Context(actor=OPERATOR, correlation_id=chat.application.new_id())
                sent = await chat.application.replaying.replay(names[step.replays], context)
            else:
                parent = {"parent_id": names[step.after]} if step.after else {}
                sent = await chat.send(conversation=conversation, **parent)
                sent.follower.close()
            names[step.name], conversation = sent.message_id, sent.conversation_id
            if step.name != "next":
                await end(chat, sent.message_id, step)

        shown = {name: await views.message(message_id) for name, message_id in names.items()}
        parents = {name: await views.parent(message) for name, message in shown.items()}
        assert parents["next"] == names[followed]
        told = await views.exchanges(names["next"], (await chat.running.store.head()).position, longest=500, tokens=0)
        assert [exchange.answer for exchange in told] == answers

        for name, message in shown.items():
            beside = [other for other in names if other != name and parents[other] == parents[name]]
            assert await views.siblings(message) == [names[other] for other in beside], name


async def end(chat: Chat, message_id, step: Step) -> None:
    def answer_or_fail(staged):
        message = staged.aggregate
        attempt = message.start_attempt("worker")
        if step.fails:
            message.fail(attempt, "internal_server_error", "in vain")
        else:
            message.append_chunk(attempt, step.name)
            message.complete(attempt, Usage(), "stop", "f" * 64)

    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    await chat.running.ledger.decide(Message, message_id, answer_or_fail, context)
