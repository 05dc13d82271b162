"""Hosts that share a ledger: each is a node, and what one does the others know in a moment."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from chatledger import AppConfiguration, Chatledger, NotFoundError
from chatledger.domain.configuration import AnnotationReply
from tests.embedding.hosting import DEADLINE, hosted, new_app
from tests.support.databases import settings_of
from tests.support.nodes import give_master_key

pytestmark = pytest.mark.postgres


@pytest.fixture
async def two(postgres_server, migrated_database, tmp_path) -> AsyncIterator[list[Chatledger]]:
    """Two hosts on one ledger."""
    url, key = postgres_server.fresh_database(migrated_database), os.urandom(32)
    shared = {"queue": "postgres", "files_url": f"file://{tmp_path / 'files'}"} | settings_of(url)
    async with AsyncExitStack() as stack:
        nodes = []
        for name in ("first", "second"):
            give_master_key(tmp_path / name / "data", key)
            nodes.append(await stack.enter_async_context(hosted(tmp_path / name, **shared)))
        yield nodes
    postgres_server.drop_database(url)


async def soon(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110 - it is another node that it comes from
            await asyncio.sleep(0.01)


async def test_what_one_node_changes_all_know(two):
    first, second = two
    app = await new_app(first, tokens=2)
    assert (await second.messages.ask(app, "hello", user="ada")).text == "t0 t1 "

    given = AppConfiguration(
        generator="scripted", settings={"tokens": 3}, annotation_reply=AnnotationReply(enabled=True)
    )
    await first.apps.configure(app, given)
    await soon(lambda: is_answered(second, app, "hello", "t0 t1 t2 "))

    await first.annotations.add(app, "What is it?", "It is this.")
    await soon(lambda: is_answered(second, app, "What is it?", "It is this."))
    await first.annotations.add(app, "What else?", "It is that.")
    await soon(lambda: is_answered(second, app, "What else?", "It is that."))

    before = (await second.messages.ask(app, "hello", user="ada")).conversation_id
    await first.people.erase(app, "ada")

    async def is_nobodys() -> bool:
        try:
            await second.messages.history(app, before, user="ada")
        except NotFoundError:
            return True
        return False

    await soon(is_nobodys)
    after = await second.messages.ask(app, "hello again", user="ada")
    assert after.conversation_id != before


async def is_answered(ledger: Chatledger, app: Any, question: str, answer: str) -> bool:
    return (await ledger.messages.ask(app, question, user="ada")).text == answer
