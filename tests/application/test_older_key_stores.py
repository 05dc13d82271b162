"""A key store that is an older copy, or was cut short by the end of a process: what the ledger erased stays erased."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import psycopg
import pytest

from chatledger.adapters.cli.doctor import doctor
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.master import MasterKeyFile
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.system_clock import new_id
from chatledger.bootstrap import open_chatledger, open_for_reading, open_for_repair
from chatledger.bootstrap.stores import database_of, migrate
from chatledger.domain.conversation import Conversation
from chatledger.settings import Settings
from tests.application.chat import DEADLINE
from tests.support.databases import ON_SQLITE

_IDLE = """
SELECT FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle in transaction' AND pid <> pg_backend_pid()
"""


async def served(settings) -> None:
    async with open_chatledger(settings, with_worker=False):
        pass


async def repaired(settings) -> None:
    async with open_for_repair(settings):
        pass


async def migrated(settings) -> None:
    await asyncio.to_thread(migrate, settings)


class Erased(NamedTuple):
    """A store from which a conversation was erased, while its key store is of before.

    Attributes:
        gone: the key of the erased conversation.
        kept: the key of another one.
    """

    settings: Settings
    gone: UUID
    kept: UUID

    @property
    def _backup(self) -> Path:
        return self.settings.data_dir / "backup"

    def back_up(self) -> None:
        shutil.copy(self.settings.data_dir / "keys.db", self._backup)

    def restore(self) -> None:
        shutil.copy(self._backup, self.settings.data_dir / "keys.db")
        assert self.has(self.gone)

    def key_store(self) -> closing[StoredKeyring]:
        """By itself."""
        folder = self.settings.data_dir
        return closing(StoredKeyring(SqliteKeyStore(folder / "keys.db"), MasterKeyFile(folder / "master.key"), new_id))

    def has(self, key_id: UUID) -> bool:
        with self.key_store() as keyring:
            try:
                keyring.key(key_id)
            except KeyDestroyedError:
                return False
            return True


async def erase(chat, conversation_id) -> None:
    """As it is on record. The process ends before it comes to the key."""
    context = Context(actor=SYSTEM, correlation_id=new_id())
    await chat.running.ledger.decide(
        Conversation, conversation_id, lambda staged: staged.aggregate.erase("retention"), context
    )


@pytest.fixture
async def erased(open_chat):
    async with open_chat() as chat:
        answered = [await chat.answered("tokens=1") for _ in range(2)]
        keys = [(await chat.events(view.message_id))[0].key_id for view in answered]
        await erase(chat, answered[0].conversation_id)
    erased = Erased(chat.settings, *keys)
    erased.back_up()
    return erased


async def test_an_older_key_store_revives_nobody(erased, database_url, monkeypatch: pytest.MonkeyPatch) -> None:
    """To be rid of keys may take longer than a transaction of the ledger may be idle: meanwhile there is none."""
    idle: list[int] = []

    def observed(work):
        def observing(*arguments):
            if database_url:
                with psycopg.connect(database_url) as beside:
                    idle.append(beside.execute(_IDLE).rowcount)
            return work(*arguments)

        return observing

    for name in ("scrub", "agree"):
        monkeypatch.setattr(StoredKeyring, name, observed(getattr(StoredKeyring, name)))
    for opened in (served, repaired, migrated):
        erased.restore()
        idle.clear()
        await opened(erased.settings)
        assert idle[:2] == ([0, 0] if database_url else [])
        assert (erased.has(erased.gone), erased.has(erased.kept)) == (False, True)


@ON_SQLITE
async def test_whose_key_is_missing_is_refused_until_they_are_erased(open_chat) -> None:
    async with open_chat() as chat:
        await chat.answered("tokens=1", user="ada")
    shutil.copy(chat.settings.data_dir / "keys.db", chat.settings.data_dir / "backup")
    async with open_chat() as chat:
        await chat.to_the_end(await chat.send("tokens=1", user="eve"))
    shutil.copy(chat.settings.data_dir / "backup", chat.settings.data_dir / "keys.db")
    async with open_chat() as chat:
        for keyed in ({}, {"idempotency_key": "k"}):
            with pytest.raises(KeyDestroyedError):
                await chat.send("tokens=1", user="eve", **keyed)
        with pytest.raises(KeyDestroyedError):
            await chat.application.uploading.upload(chat.caller("eve"), "a.txt", in_pieces(b"hers"))
        await chat.answered("tokens=1", user="ada")

        eve = await chat.application.end_users.named(chat.app.app_id, "service-api", "eve")
        await chat.application.erasing.request(eve, Context(actor=SYSTEM, correlation_id=new_id()))
        assert (await chat.application.erasing.until_done(eve, DEADLINE)).erased_position is not None
        await chat.to_the_end(await chat.send("tokens=1", user="eve"))


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


@ON_SQLITE
async def test_an_older_key_store_gives_nothing_to_who_only_reads(erased) -> None:
    async with open_for_reading(erased.settings) as reading:
        with pytest.raises(KeyDestroyedError):
            reading.keyring.key(erased.gone)
        reading.keyring.key(erased.kept)
    checks = {found.check: found for found in (await asyncio.to_thread(doctor, erased.settings)).data["checks"]}
    assert checks["data keys"].verdict == "ok"
    assert checks["data keys"].detail.endswith(
        "and 1 that were erased: is it an older copy? The next start destroys them"
    )
    await served(erased.settings)
    checks = {found.check: found for found in (await asyncio.to_thread(doctor, erased.settings)).data["checks"]}
    assert (checks["data keys"].verdict, "erased" in checks["data keys"].detail) == ("ok", False)


async def test_a_repair_believes_no_read_model(erased) -> None:
    with database_of(erased.settings).alone() as engine, engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM erased_keys")
    await repaired(erased.settings)
    assert not erased.has(erased.gone)


@ON_SQLITE
async def test_nothing_is_done_twice_unless_the_ledger_is_the_older_copy(erased) -> None:
    await served(erased.settings)
    with erased.key_store() as keyring:
        agreed = keyring.agreed_position
        assert agreed > 0
    erased.restore()
    for known, is_there in ((agreed, True), (agreed + 1_000_000, False)):
        with erased.key_store() as keyring:
            keyring.agree(known)
        await served(erased.settings)
        assert erased.has(erased.gone) == is_there
    with erased.key_store() as keyring:
        assert keyring.agreed_position == agreed
