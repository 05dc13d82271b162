"""What is left of a person who was erased: the rows that a replay makes without their keys, and nobody else's moved."""

import asyncio
from collections.abc import Collection
from uuid import UUID

import pytest

from chatledger.application.ledger.projections import READ_MODELS
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.domain.end_user import EndUser
from chatledger.domain.values import Usage
from tests.persistence.stores import Store, running_writer
from tests.persistence.test_rebuild import Traffic, read_models, rebuild


class Forgetting(Traffic):
    """Traffic in which people are erased, as the process does it."""

    async def erase(self, person: EndUser) -> None:
        conversations = [each for each in self.conversations if each.started.end_user_id == person.id]
        messages = [each for each in self.messages if each.created.end_user_id == person.id]
        files = [each for each in self.files if each.uploaded.end_user_id == person.id]
        for mine, all_of_them in (
            ([person], self.people),
            (conversations, self.conversations),
            (messages, self.messages),
            (files, self.files),
        ):
            all_of_them[:] = [each for each in all_of_them if each not in mine]
        person.request_erasure()
        await self.hand_in(person)
        for message in messages:
            if not message.has_ended:
                message.request_stop("erasure")
                message.stop(message.attempt, "erasure", Usage(total_tokens=1), "f" * 64)
        await self.hand_in(*messages)
        key_id = self.keys[person.id].key_id
        await self.writer.run_alone(lambda: self.store.keyring.destroy([key_id]))
        for each in (*conversations, *files):
            each.erase("erasure")
        await self.hand_in(*conversations)
        await self.hand_in(*files)
        person.erase(conversations=len(conversations), files=len(files))
        await self.hand_in(person)

    async def let_age(self) -> None:
        """Erase one conversation by itself, as retention does it."""
        idle = [
            each
            for each in self.conversations
            if all(message.has_ended for message in self.messages if message.created.conversation_id == each.id)
        ]
        conversation = self.dice.choice(idle)
        self.conversations.remove(conversation)
        self.messages = [each for each in self.messages if each.created.conversation_id != conversation.id]
        key_id = self.keys[conversation.id].key_id
        await self.writer.run_alone(lambda: self.store.keyring.destroy([key_id]))
        conversation.erase("retention")
        await self.hand_in(conversation)


def rows_but(store: Store, erased: Collection[UUID]) -> dict[str, list[tuple]]:
    """All rows in which none of these ids stands."""
    marks = {each.bytes for each in erased}
    return {
        table: [row for row in rows if marks.isdisjoint(value for value in row if isinstance(value, bytes))]
        for table, rows in read_models(store).items()
    }


async def busy(writer: GroupCommitWriter, store: Store, seed: int, steps: int) -> Forgetting:
    traffic = Forgetting(seed, store, writer)
    await traffic.run(steps)
    return traffic


@pytest.mark.parametrize("seed", range(2))
async def test_a_replay_after_erasures_gives_equal_rows_and_leaves_the_others_alone(store: Store, seed: int) -> None:
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        traffic = await busy(writer, store, seed, 200)
        for _ in range(3):
            person = traffic.dice.choice([each for each in traffic.people if not each.holds])
            theirs = [each.id for each in traffic.conversations if each.started.end_user_id == person.id]
            theirs += [each.id for each in traffic.messages if each.created.end_user_id == person.id]
            theirs += [each.id for each in traffic.files if each.uploaded.end_user_id == person.id]
            theirs.append(person.id)
            before = rows_but(store, theirs)
            used = store.query("SELECT * FROM token_usage")
            await traffic.erase(person)
            after = rows_but(store, theirs)
            for table in set(READ_MODELS) - {"token_usage", "erased_keys"}:
                assert after[table] == before[table], table
            assert len(store.query("SELECT * FROM token_usage")) >= len(used)
            await traffic.let_age()
            await traffic.run(40)
    live = read_models(store)
    assert len(live["erased_keys"]) > 6
    assert (await rebuild(store)).differences == 0
    for table, rows in live.items():
        assert read_models(store)[table] == rows, table


@pytest.mark.parametrize("seed", [7])
async def test_nothing_that_is_sealed_is_left_in_the_rows_of_an_erased_person(store: Store, seed: int) -> None:
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        traffic = await busy(writer, store, seed, 200)
        person = max(
            (each for each in traffic.people if not each.holds),
            key=lambda each: sum(message.created.end_user_id == each.id for message in traffic.messages),
        )
        await traffic.erase(person)
    theirs = {"person": person.id if store.writing.dialect.name == "postgresql" else person.id.bytes}
    assert store.query("SELECT * FROM end_users WHERE end_user_id = :person", **theirs) == []
    kept = "SELECT DISTINCT question, answer, suggestions, enters_prompts FROM messages WHERE end_user_id = :person"
    assert store.query(kept, **theirs) == [(b"", None, None, 0)]
    for table, columns in {"conversations": "name, content", "files": "content"}.items():
        found = store.query(f"SELECT DISTINCT {columns} FROM {table} WHERE end_user_id = :person", **theirs)
        assert all(value == b"" for row in found for value in row), table
    contents = "SELECT f.content FROM feedbacks f JOIN messages m USING (message_id) WHERE m.end_user_id = :person"
    assert {row[0] for row in store.query(contents, **theirs)} <= {b""}
    opened = "SELECT d.is_open FROM dead_letters d JOIN messages m USING (message_id) WHERE m.end_user_id = :person"
    assert {row[0] for row in store.query(opened, **theirs)} <= {0}
