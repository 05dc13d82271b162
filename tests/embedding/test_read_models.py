"""A host has the read models made anew."""

import asyncio

import pytest
import sqlalchemy as sa

from chatledger import AppConfiguration, Chatledger, ClosedError, RebuildRunningError, Settings
from chatledger.application.system_clock import new_id
from tests.support.databases import connection_to, settings_of


async def test_a_host_has_the_read_models_made_anew(tmp_path, database_url):
    settings = Settings(data_dir=tmp_path / "data", **settings_of(database_url))
    async with Chatledger.open(settings) as ledger:
        app = await ledger.apps.create("chat", "An app", AppConfiguration(generator="scripted", settings={"tokens": 3}))
        asked = await ledger.messages.ask(app.app_id, "hello", user="ada")
        assert ledger.read_models.status().state == "none"

        told: list[tuple[int, int]] = []
        rebuilding = asyncio.create_task(ledger.read_models.rebuild(lambda done, total: told.append((done, total))))
        await asyncio.sleep(0)
        with pytest.raises(RebuildRunningError):
            await ledger.read_models.rebuild()
        report = await rebuilding
        assert (report.differences, told[-1]) == (0, (report.events, report.events))
        assert {table.table: table.rows for table in report.tables}["messages"] == 1
        assert ledger.read_models.status().report == report
        assert (await ledger.messages.get(asked.message_id)).message.state == "completed"

        unfinished = asyncio.create_task(ledger.read_models.rebuild())
        await asyncio.sleep(0)
    with pytest.raises(ClosedError):
        await unfinished


async def test_people_are_found_again_after_a_repair(tmp_path, database_url):
    settings = Settings(data_dir=tmp_path / "data", **settings_of(database_url))
    async with Chatledger.open(settings) as ledger:
        app = await ledger.apps.create("chat", "An app", AppConfiguration(generator="scripted", settings={"tokens": 3}))
        asked = await ledger.messages.ask(app.app_id, "hello", user="ada")
        stranger = new_id()
        with connection_to(settings.ledger_url) as connection:
            value = stranger.bytes if connection.dialect.name == "sqlite" else stranger
            connection.execute(sa.text("UPDATE end_users SET end_user_id = :stranger"), {"stranger": value})

        async def conversations():
            return [found.conversation_id for found in (await ledger.conversations.list(app.app_id, user="ada")).items]

        assert await conversations() == []
        assert (await ledger.read_models.rebuild()).differences == 2
        assert await conversations() == [asked.conversation_id]
