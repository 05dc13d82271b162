"""Replaying the ledger gives the read models that the live projections made, byte for byte."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.statements import statements_of
from chatledger.adapters.persistence.tables import METADATA
from chatledger.adapters.persistence.views.people import SqlPeopleViews
from chatledger.application.commands import rebuilding
from chatledger.application.commands.rebuilding import RebuildReport
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger import rebuild as replaying
from chatledger.application.ledger.hand_ins import HandIn, NewEvent
from chatledger.application.ledger.ledger import CATEGORIES
from chatledger.application.ledger.projections import READ_MODELS
from chatledger.application.ledger.rebuild import PAGE, Replay
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.storage import LAST_POSITION
from chatledger.application.system_clock import new_id
from chatledger.domain.aggregate import Aggregate
from chatledger.domain.app import App
from chatledger.domain.configuration import AppConfiguration, DeclaredVariable
from chatledger.domain.conversation import Conversation
from chatledger.domain.end_user import EndUser
from chatledger.domain.events import FileUploaded
from chatledger.domain.file import File
from chatledger.domain.key_store import KEY_STORE_ID, KeyStore
from chatledger.domain.message import Message
from chatledger.domain.notary import NOTARY_ID, Notary
from chatledger.domain.operator import Operator
from chatledger.domain.values import Account, AttachedFile, Resource, Thought, Usage
from chatledger.domain.webhook import Webhook
from tests.persistence.stores import Store, a_question, open_rebuilding, open_store, running_writer

WORDS = ("ledger", "帳簿", "naïve", "", "\u2028", "quote'\"", "𝄞 clef", "a" * 500)


class Traffic:
    """Random work of some people on some apps, in hand-ins of one or several aggregates."""

    def __init__(self, seed: int, store: Store, writer: GroupCommitWriter) -> None:
        self.dice = random.Random(seed)
        self.store = store
        self.writer = writer
        self.keys: dict[UUID, Any] = {}
        self.apps: list[App] = []
        self.operators: list[Operator] = []
        self.people: list[EndUser] = []
        self.conversations: list[Conversation] = []
        self.messages: list[Message] = []
        self.files: list[File] = []
        self.webhooks: list[Webhook] = []
        self.notary = Notary(NOTARY_ID)
        self.key_store = KeyStore(KEY_STORE_ID)

    async def run(self, steps: int) -> None:
        moves = [self.set_up, self.meet, self.converse, self.upload, self.annotate, self.rearrange]
        moves += [*[self.ask] * 3, *[self.generate] * 8, *[self.rate] * 2, self.keep, self.oversee]
        for move in (self.set_up, self.meet, self.upload, self.converse, self.annotate, self.oversee):
            await self.hand_in(*move())
        pending = []
        for _ in range(steps):
            self.store.clock.pass_time(milliseconds=self.dice.randint(-50, 100))
            pending.append(self.hand_in(*self.dice.choice(moves)()))
            if self.dice.random() < 0.2:
                await asyncio.gather(*pending)
                pending.clear()
        await asyncio.gather(*pending)

    def hand_in(self, *aggregates: Aggregate) -> asyncio.Future:
        events, new_keys, folded = [], [], {}
        for aggregate in aggregates:
            owner = aggregate.created.conversation_id if isinstance(aggregate, Message) else aggregate.id
            if owner not in self.keys:
                key = self.keys[owner] = self.store.keyring.new_key(self.parent_key(aggregate))
                new_keys.append(key)
            for recorded in aggregate.collect_events():
                key_id = self.keys[owner].key_id
                events.append(NewEvent(recorded, CATEGORIES[type(aggregate)], new_id(), key_id))
        context = Context(actor=SYSTEM, correlation_id=new_id())
        return self.writer.hand_in(HandIn(events=events, context=context, new_keys=new_keys, folded=folded))

    def parent_key(self, aggregate: Aggregate) -> UUID | None:
        match aggregate:
            case Conversation():
                return self.keys[aggregate.started.end_user_id].key_id
            case File():
                return self.keys[aggregate.uploaded.end_user_id].key_id
            case _:
                return None

    def text(self) -> str:
        return " ".join(self.dice.choices(WORDS, k=self.dice.randint(0, 6)))

    def set_up(self) -> Iterator[Aggregate]:
        configuration = AppConfiguration(generator="scripted", settings={"text": self.text()})
        if self.apps and self.dice.random() < 0.7:
            app = self.dice.choice(self.apps)
            move = self.dice.choice(["rotate", "configure", "site", "disable", "enable"])
            if move == "rotate":
                app.rotate_key(new_id(), new_id().hex)
            elif move == "configure":
                app.configure(configuration)
            elif move == "site":
                app.issue_site_code(new_id().hex)
            elif move == "disable":
                app.disable()
            else:
                app.enable()
            yield app
        else:
            app = App.create(new_id(), mode="chat", name=self.text(), configuration=configuration)
            app.issue_key(new_id(), new_id().hex)
            self.apps.append(app)
            yield app
        operator = Operator.issue(new_id(), name=self.text(), token_hash=new_id().hex, scopes=["audit", "operate"])
        self.operators.append(operator)
        yield operator
        revoked = self.dice.choice(self.operators)
        if revoked is not operator:
            revoked.revoke()
            yield revoked

    def annotate(self) -> Iterator[Aggregate]:
        app = self.dice.choice(self.apps)
        known = list(app.annotations)
        if known and self.dice.random() < 0.3:
            app.remove_annotation(self.dice.choice(known))
        elif known and self.dice.random() < 0.5:
            app.change_annotation(self.dice.choice(known), self.text(), self.text())
        else:
            app.add_annotation(new_id(), self.text(), self.text())
        yield app

    def upload(self) -> Iterator[Aggregate]:
        person = self.dice.choice(self.people)
        uploaded = FileUploaded(
            app_id=person.seen.app_id,
            end_user_id=person.id,
            kind="image",
            belongs_to="user",
            size=self.dice.randint(0, 99),
            mime_type="image/png",
            name=self.text(),
        )
        file = File.upload(new_id(), uploaded)
        self.files.append(file)
        yield file

    def attachment(self) -> AttachedFile:
        file = self.dice.choice(self.files)
        return AttachedFile(
            file_id=new_id(),
            kind="image",
            transfer_method="local_file",
            belongs_to="user",
            name=self.text(),
            upload_file_id=file.id,
        )

    def meet(self) -> Iterator[Aggregate]:
        app_id = self.dice.choice(self.apps).id
        person = EndUser.see(new_id(), app_id=app_id, kind="service-api", external_id=self.text(), lookup=new_id().hex)
        self.people.append(person)
        yield person

    def converse(self) -> Iterator[Aggregate]:
        person = self.dice.choice(self.people)
        conversation = Conversation.start(
            new_id(),
            app_id=person.seen.app_id,
            end_user_id=person.id,
            hidden=self.dice.random() < 0.2,
            automatic_name=self.dice.random() < 0.5,
            name=self.text(),
            inputs={"topic": self.text()},
            introduction=self.text(),
        )
        declared = DeclaredVariable(name=self.text(), default=self.text(), description=self.text())
        conversation.declare_variable(new_id(), declared)
        self.conversations.append(conversation)
        yield conversation
        yield from self.ask(conversation)

    def rearrange(self) -> Iterator[Aggregate]:
        living = [one for one in self.conversations if not one.is_deleted]
        if len(living) < 2:
            yield from self.converse()
            return
        conversation = self.dice.choice(living)
        draw = self.dice.random()
        if draw < 0.2:
            conversation.rename(self.text())
        elif draw < 0.4:
            conversation.take_found_name(self.text(), conversation.version)
        elif draw < 0.5:
            conversation.pin()
        elif draw < 0.6:
            conversation.unpin()
        elif draw < 0.9:
            conversation.set_variable(next(iter(conversation.variables)), self.text())
        else:
            conversation.delete()
        yield conversation

    def oversee(self) -> Iterator[Aggregate]:
        """What operators do: holds, erasures, retention, webhooks; and the notary's keys."""
        app = self.dice.choice(self.apps)
        if app.status != "deleted":
            app.set_retention(self.dice.randint(1, 99))
            yield app
        operator = self.dice.choice(self.operators)
        operator.record_read("app", app.id)
        yield operator
        [held], [forgotten] = self.meet(), self.meet()
        self.people.remove(forgotten)
        held.place_hold(new_id(), self.text())
        lasting = new_id()
        held.place_hold(lasting, self.text())
        held.release_hold(lasting)
        yield held
        forgotten.request_erasure()
        yield forgotten
        if self.dice.random() < 0.7:
            forgotten.erase(conversations=0, files=0)
            yield forgotten
        webhook = Webhook.register(new_id(), app_id=None, types=["FeedbackGiven"], after=0, url="u", secret=self.text())
        yield webhook
        if self.webhooks:
            known, fate = self.webhooks[-1], self.dice.random()
            known.rotate_secret("another secret", datetime(2027, 1, 1, tzinfo=UTC))
            known.disable("failing")
            if fate < 0.7:
                known.enable()
            if fate < 0.5:
                known.remove()
            yield known
        self.webhooks.append(webhook)
        self.notary.introduce_key(f"log+{len(self.notary.verifier_keys)}")
        yield self.notary
        held.rotate_key(1)
        self.key_store.rotate_master_key(1)
        yield from (held, self.key_store)

    def ask(self, conversation: Conversation | None = None) -> Iterator[Aggregate]:
        conversation = conversation or self.dice.choice(self.conversations)
        asked = a_question(
            self.text(),
            conversation_id=conversation.id,
            app_id=conversation.started.app_id,
            end_user_id=conversation.started.end_user_id,
            inputs={"words": [self.text()]},
            parent_id=self.dice.choice([None, UUID(int=0), new_id()]),
            fingerprint=self.dice.choice([None, "e" * 64]),
            files=tuple(self.attachment() for _ in range(self.dice.randint(0, 2))),
            replayed_from=self.dice.choice([None, *(message.id for message in self.messages if message.error)]),
        )
        message = Message.create(new_id(), asked)
        self.messages.append(message)
        yield message

    def generate(self) -> Iterator[Aggregate]:
        running = [message for message in self.messages if not message.has_ended]
        if not running:
            yield from self.ask()
            return
        message = self.dice.choice(running)
        for _ in range(self.dice.randint(1, 6)):
            if not message.has_ended:
                self.one_step(message)
        yield message

    def one_step(self, message: Message) -> None:
        dice, attempt = self.dice, message.attempt
        if not message.attempt_is_open and message.stop_requested_by is None:
            base = dice.choice(["reset", "continue"])
            message.start_attempt("worker", base, dice.randint(0, message.answer_length))
        elif message.stop_requested_by is not None:
            usage = Usage(completion_tokens=message.answer_length, total_tokens=message.answer_length)
            message.stop(attempt, message.stop_requested_by, usage, "f" * 64)
        else:
            draw = dice.random()
            if draw < 0.4:
                message.append_chunk(attempt, self.text())
            elif draw < 0.6:
                self.something_else(message)
            elif draw < 0.7:
                message.record_resources(attempt, [Resource(position=1, content=self.text(), score=0.5)])
            elif draw < 0.75:
                message.requeue(attempt, "completion_request_error", self.text(), datetime(2027, 1, 1, tzinfo=UTC))
            elif draw < 0.82:
                message.request_stop(dice.choice(["user", "timeout"]))
            elif draw < 0.87:
                message.fail(attempt, "internal_server_error", self.text())
            else:
                message.complete(attempt, Usage(total_tokens=dice.randint(0, 99), latency=0.1), "stop", "f" * 64)

    def something_else(self, message: Message) -> None:
        attempt = message.attempt
        thought = Thought(thought_id=new_id(), position=1, thought=self.text())
        self.dice.choice(
            [
                lambda: message.replace_answer(attempt, self.text(), "output_moderation"),
                lambda: message.record_thought(attempt, thought),
                lambda: message.attach_file(attempt, self.attachment()),
                lambda: message.match_annotation(attempt, new_id(), 0.9, Account(new_id(), self.text())),
                lambda: message.note_moderation(attempt, "input", "direct_output"),
            ]
        )()

    def keep(self) -> Iterator[Aggregate]:
        message = self.dice.choice(self.messages)
        self.dice.choice([message.save, message.save, message.unsave])()
        message.propose_questions([self.text()])
        yield message

    def rate(self) -> Iterator[Aggregate]:
        message = self.dice.choice(self.messages)
        source = self.dice.choice(["user", "admin"])
        if source in message.feedback and self.dice.random() < 0.5:
            message.withdraw_feedback(source)
        else:
            content = self.dice.choice([None, self.text()])
            message.give_feedback(source, self.dice.choice(["like", "dislike"]), content)
        yield message


def read_models(store: Store) -> dict[str, list[tuple]]:
    return {table: sorted(store.query(f"SELECT * FROM {table}"), key=repr) for table in READ_MODELS}


def table_names(store: Store) -> set[str]:
    with store.reading.connect() as connection:
        inspected, schema = sa.inspect(connection), statements_of(connection).read_schema()
        return {name for each in {None, schema} for name in inspected.get_table_names(each)}


async def keep_busy(store: Store, seed: int, steps: int) -> None:
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        await Traffic(seed, store, writer).run(steps)


@pytest.fixture
async def busy_store(store: Store) -> Store:
    await keep_busy(store, 3, 150)
    return store


def replay(source: Store, target: Store) -> None:
    """Fill the empty read models of another store."""
    replayed = Replay(source.codec, source.projections)
    with source.ledger.write() as reading, target.ledger.write() as writing:
        for changes in replayed.pages(reading):
            writing.apply(changes)


async def rebuild(store: Store) -> RebuildReport:
    async with open_rebuilding(store) as rebuilding:
        return await rebuilding.rebuild()


@pytest.mark.parametrize("seed", range(3))
async def test_a_replay_gives_the_same_rows(store: Store, tmp_path: Path, seed: int) -> None:
    await keep_busy(store, seed, 800)
    live, last = read_models(store), store.positions()[-1]
    assert all(live.values()), {table: len(rows) for table, rows in live.items()}
    assert last > PAGE
    states = {row[0] for row in store.query("SELECT DISTINCT state FROM messages")}
    assert {"completed", "stopped", "errored", "running"} <= states
    assert {row[0] for row in store.query("SELECT DISTINCT is_open FROM dead_letters")} == {0, 1}

    report = await rebuild(store)
    assert (report.events, report.position, report.differences) == (last, last, 0)
    assert read_models(store) == live

    (tmp_path / "second").mkdir()
    with open_store(tmp_path / "second") as second:
        replay(store, second)
        assert read_models(second) == live
        assert second.positions() == []
    assert store.positions() == list(range(1, last + 1))


async def test_a_page_ends_earlier_where_events_are_long(busy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    live, most, read_at_once = read_models(busy_store), 10_000, 10
    with busy_store.ledger.write() as transaction:
        sizes = [len(row.public) + len(row.sealed or b"") for row in transaction.read_log(0, LAST_POSITION)]
    assert sum(sizes) > 5 * most
    monkeypatch.setattr(rebuilding, "PAGE_BYTES", most)
    monkeypatch.setattr(rebuilding, "NEAR", 0)
    monkeypatch.setattr(replaying, "PAGE", read_at_once)
    ends = [0]
    async with open_rebuilding(busy_store) as rebuilds:
        report = await rebuilds.rebuild(lambda done, _total: ends.append(done))
    assert report.differences == 0
    assert read_models(busy_store) == live
    for begin, end in pairwise(ends):
        assert sum(sizes[begin : end - read_at_once]) < most


async def test_a_rebuild_repairs_what_was_changed_or_lost(busy_store: Store) -> None:
    live = read_models(busy_store)
    for statement in (
        "UPDATE feedbacks SET created_at = 0",
        "DELETE FROM messages WHERE position = (SELECT max(position) FROM messages)",
        "UPDATE messages SET state = 'completed' WHERE state = 'errored'",
        "UPDATE apps SET name = configuration",
        "INSERT INTO api_keys SELECT 'planted', incarnation, incarnation FROM head",
    ):
        busy_store.execute(statement)
    wrong = read_models(busy_store)
    assert wrong != live
    report = await rebuild(busy_store)
    assert read_models(busy_store) == live

    def differing(table: str) -> int:
        key = len(METADATA.tables[table].primary_key)
        return len({row[:key] for row in set(wrong[table]) ^ set(live[table])})

    found = {compared.table: compared for compared in report.tables}
    assert {table: compared.differences for table, compared in found.items()} == {
        table: differing(table) for table in READ_MODELS
    }
    assert report.differences == sum(map(differing, READ_MODELS))
    assert found["api_keys"].different == ["planted"]
    assert (found["api_keys"].live_rows, found["api_keys"].rows) == (len(wrong["api_keys"]), len(live["api_keys"]))
    alike = {table for table, compared in found.items() if compared.digest == compared.live_digest}
    assert alike == {table for table in READ_MODELS if wrong[table] == live[table]}
    assert (await rebuild(busy_store)).differences == 0


@pytest.mark.parametrize("erased", [0, 1])
async def test_who_had_to_be_met_again_is_there_twice(store: Store, erased: int) -> None:
    """Somebody deleted the row of a person, who then came back under the same external id."""
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        traffic, app_id = Traffic(1, store, writer), new_id()
        people = [
            EndUser.see(new_id(), app_id=app_id, kind="service-api", external_id="ann", lookup="a" * 64)
            for _ in range(2)
        ]
        await traffic.hand_in(people[0])
        store.execute("DELETE FROM end_users")
        async with open_rebuilding(store, writer.run_alone) as rebuilding:
            async with rebuilding._read_models.successors() as successors:
                replayed = Replay(store.codec, store.projections)
                await successors.join(lambda locked: [change for page in replayed.pages(locked) for change in page])
                await traffic.hand_in(people[1])
            assert (await rebuilding.rebuild()).differences == 1
            views = SqlPeopleViews(store.ledger._reader, RowSeals(store.keyring))
            found = await views.end_user(app_id, "service-api", "a" * 64)
            assert found is not None
            assert found.end_user_id == people[1].id
            assert [(await views.end_user_detail(person.id)).external_id for person in people] == ["ann", "ann"]

            people[erased].request_erasure()
            await traffic.hand_in(people[erased])
            store.keyring.destroy([traffic.keys[people[erased].id].key_id])
            assert (await rebuilding.rebuild()).differences == 0
            found = await views.end_user(app_id, "service-api", "a" * 64)
            assert found is not None
            assert found.end_user_id == people[1 - erased].id


async def test_a_rebuild_that_fails_leaves_the_read_models_as_they_were(busy_store: Store) -> None:
    live, tables = read_models(busy_store), table_names(busy_store)
    of_feedback = "SELECT number FROM event_types WHERE name = 'FeedbackGiven'"
    busy_store.execute(f"UPDATE events SET public = leaf WHERE type IN ({of_feedback})")
    async with open_rebuilding(busy_store) as rebuilding:
        with pytest.raises(msgspec.DecodeError):
            await rebuilding.rebuild()
        assert rebuilding.status.state == "failed"
    assert read_models(busy_store) == live
    assert table_names(busy_store) == tables


async def test_an_empty_ledger_empties_the_read_models(store: Store) -> None:
    store.execute("INSERT INTO api_keys SELECT 'planted', incarnation, incarnation FROM head")
    report = await rebuild(store)
    assert (report.events, report.differences) == (0, 1)
    assert all(rows == [] for rows in read_models(store).values())


def test_every_other_table_is_of_the_ledger_itself_or_tells_what_no_event_tells() -> None:
    """A table that a replay would neither empty nor compare is one of these."""
    of_the_ledger = {"event_types", "events", "head", "read_model_versions", "streams"}
    of_the_library = {"library_events", "library_snapshots", "library_tracking"}
    of_the_deliveries = {"undelivered", "webhook_progress"}
    kept = {"tracking", "parked_streams", "checkpoints", "tiles"} | of_the_deliveries
    losable = {"leases", "process_leases"}
    assert set(METADATA.tables) - set(READ_MODELS) == of_the_ledger | of_the_library | kept | losable
