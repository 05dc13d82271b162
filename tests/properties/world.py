"""People at random work, and all that an app could ask about it."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, get_args
from uuid import UUID

import msgspec

from chatledger.adapters.persistence.scratch import SqlScratches
from chatledger.adapters.persistence.views.past import SqlPastPlaces
from chatledger.application.as_of import AsOf
from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import Auditor, Caller, EndUsers, Ownership, Reader
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.ledger import Staged
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ports.views import AppView, ConversationOrder, Page, Period
from chatledger.application.queries.feedbacks import Feedbacks
from chatledger.application.queries.history import History
from chatledger.application.queries.past import Past
from chatledger.application.system_clock import new_id
from chatledger.domain.configuration import AppConfiguration, DeclaredVariable
from chatledger.domain.conversation import Conversation
from chatledger.domain.end_user import SHARED_EXTERNAL_ID, EndUser
from chatledger.domain.message import Message
from chatledger.domain.values import NIL_UUID, Resource, Thought, Usage
from tests.persistence.stores import a_question
from tests.properties.conftest import Place

APP = AppView(
    app_id=UUID(int=1),
    mode="chat",
    name="",
    key_id=UUID(int=2),
    created_at=0,
    status="normal",
    site_code=None,
    configuration=AppConfiguration(generator="scripted"),
)
PEOPLE = ("ada", SHARED_EXTERNAL_ID, "nobody yet")
LIMIT = 2
Question = Callable[[AsOf | None], Awaitable[Any]]


class World:
    """Two people, what they do, and all that an app could ask about it."""

    def __init__(self, place: Place, seed: int) -> None:
        self.place = place
        self.dice = random.Random(seed)
        self.app = msgspec.structs.replace(APP, app_id=new_id())
        store, seals = place.store, RowSeals(place.store.keyring)
        self.end_users = EndUsers(place.views, store.keyring)
        self.scratches = SqlScratches(seals, place.views, number=1)
        places = SqlPastPlaces(place.views._reader)
        self.past = Past(store.ledger, store.codec, store.projections, places, self.scratches, store.clock)
        self.feedbacks = Feedbacks(place.views, self.past, batch=LIMIT)
        self.people: dict[str, EndUser] = {}
        self.conversations: dict[UUID, Staged[Conversation]] = {}
        self.messages: dict[UUID, Staged[Message]] = {}
        self.done: Counter[str] = Counter()

    # What they do

    async def hand_in(self, *staged: Staged[Any], **more: Any) -> None:
        self.place.store.clock.pass_time(milliseconds=self.dice.choice((1, 1, 0, 999)))
        await self.place.ledger.hand_in(*staged, context=Context(actor=SYSTEM, correlation_id=new_id()), **more)

    async def step(self) -> None:
        moves = [self.begin, self.converse, self.converse, *[self.ask] * 3, *[self.rate] * 4]
        await self.dice.choice([*moves, *[self.generate] * 5])()

    async def meet(self, name: str) -> None:
        key, person_id = self.place.store.keyring.new_key(None), new_id()
        lookup = self.end_users.lookup(self.app.app_id, "service-api", name)
        self.people[name] = EndUser.see(
            person_id, app_id=self.app.app_id, kind="service-api", external_id=name, lookup=lookup
        )
        await self.hand_in(Staged(self.people[name], key.key_id), new_keys=[key])

    async def begin(self) -> None:
        name = self.dice.choice(PEOPLE[:2])
        if name not in self.people:
            await self.meet(name)
        key = self.place.store.keyring.new_key(None)
        conversation = Conversation.start(
            new_id(),
            app_id=self.app.app_id,
            end_user_id=self.people[name].id,
            hidden=False,
            name=self.text(),
            inputs={"tone": self.text()},
            introduction="",
        )
        declared = DeclaredVariable(name="language", value_type="string", default="en")
        conversation.declare_variable(new_id(), declared)
        staged = self.conversations[conversation.id] = Staged(conversation, key.key_id)
        await self.hand_in(staged, self.new_message(staged), new_keys=[key])

    def new_message(self, staged: Staged[Conversation], **more: Any) -> Staged[Message]:
        conversation = staged.aggregate
        asked = a_question(
            self.text(),
            conversation_id=conversation.id,
            app_id=self.app.app_id,
            end_user_id=conversation.started.end_user_id,
            **more,
        )
        message = Staged(Message.create(new_id(), asked), staged.key_id)
        self.messages[message.aggregate.id] = message
        return message

    async def converse(self) -> None:
        staged = self.any_of(self.conversations)
        if staged is None or staged.aggregate.is_deleted:
            return
        conversation = staged.aggregate
        move = self.dice.choice(("rename", "rename", "find a name", "pin", "unpin", "variable", "delete"))
        if conversation.is_pinned and self.dice.random() < 0.5:
            move = "unpin"
        before = conversation.version
        match move:
            case "rename":
                conversation.rename(self.text())
            case "find a name":
                conversation.take_found_name(self.text(), conversation.version)
            case "pin":
                conversation.pin()
            case "unpin":
                conversation.unpin()
            case "variable":
                conversation.set_variable(next(iter(conversation.variables)), self.text())
            case "delete":
                conversation.delete()
        if conversation.version > before:
            self.done[move] += 1
            await self.hand_in(staged)

    async def ask(self) -> None:
        staged = self.any_of(self.conversations)
        if staged is None or staged.aggregate.is_deleted:
            return
        others = [one for one, each in self.messages.items() if self.conversation_of(each) == staged.aggregate.id]
        failed = [one for one in others if self.messages[one].aggregate.error]
        parent = self.dice.choice([None, NIL_UUID, NIL_UUID, *others])
        await self.hand_in(self.new_message(staged, parent_id=parent, replayed_from=self.dice.choice([None, *failed])))

    async def generate(self) -> None:
        running = {one: each for one, each in self.messages.items() if not each.aggregate.has_ended}
        staged = self.any_of(running)
        if staged is None:
            return
        for _ in range(self.dice.randint(1, 3)):
            if not staged.aggregate.has_ended:
                self.one_step(staged.aggregate)
        await self.hand_in(staged)

    def one_step(self, message: Message) -> None:
        attempt, usage = message.attempt, Usage(completion_tokens=3, total_tokens=3)
        if not message.attempt_is_open and message.stop_requested_by is None:
            base = self.dice.choice(["reset", "continue"])
            message.start_attempt("worker", base, self.dice.randint(0, message.answer_length))
            return
        if message.stop_requested_by is not None:
            self.done["stopped"] += 1
            message.stop(attempt, message.stop_requested_by, usage, "f" * 64)
            return
        resource, thought = Resource(position=1, content=self.text()), Thought(thought_id=new_id(), position=1)
        move = self.dice.choice(
            ("chunk",) * 4 + ("replace", "resources", "thought", "requeue", "stop", "fail", "complete")
        )
        self.done[move] += 1
        match move:
            case "chunk":
                message.append_chunk(attempt, f"{self.text()} ")
            case "replace":
                message.replace_answer(attempt, self.text(), "output_moderation")
            case "resources":
                message.record_resources(attempt, [resource])
            case "thought":
                message.record_thought(attempt, msgspec.structs.replace(thought, thought=self.text()))
            case "requeue":
                message.requeue(attempt, "completion_request_error", self.text(), datetime(2027, 1, 1, tzinfo=UTC))
            case "stop":
                message.request_stop("user")
            case "fail":
                message.fail(attempt, "internal_server_error", self.text())
            case "complete":
                message.complete(attempt, usage, "stop", "f" * 64)

    async def rate(self) -> None:
        rated = {one: each for one, each in self.messages.items() if each.aggregate.feedback}
        staged = self.any_of(rated if rated and self.dice.random() < 0.6 else self.messages)
        if staged is None:
            return
        message, source = staged.aggregate, self.dice.choice(["user", "user", "admin"])
        moves = ["rate", "rate", "rate", "save", "unsave", "suggest"]
        if message.feedback and self.dice.random() < 0.7:
            source, moves = self.dice.choice(list(message.feedback)), ["rate", "withdraw"]
        before, move = message.version, self.dice.choice(moves)
        match move:
            case "rate":
                message.give_feedback(source, self.dice.choice(["like", "dislike"]), self.text())
            case "withdraw":
                message.withdraw_feedback(source)
            case "save":
                message.save()
            case "unsave":
                message.unsave()
            case "suggest":
                message.propose_questions([self.text()])
        if message.version > before:
            self.done[move] += 1
            await self.hand_in(staged)

    def any_of(self, staged: dict[UUID, Staged[Any]]) -> Staged[Any] | None:
        return self.dice.choice(list(staged.values())) if staged else None

    def conversation_of(self, staged: Staged[Message]) -> UUID:
        return staged.aggregate.created.conversation_id

    def text(self) -> str:
        return self.dice.choice(("sky", "帳簿", "naïve 𝄞", "")) + str(self.dice.randint(0, 99))

    # What can be asked

    @property
    def history(self) -> History:
        """One that remembers nothing of earlier pages."""
        ownership = Ownership(self.end_users, self.place.views)
        reads = ContentReads(self.place.ledger, self.place.store.clock)
        return History(self.place.ledger.message, self.place.views, self.end_users, ownership, self.past, reads)

    def questions(self, of_each_kind: int) -> list[Question]:
        """Some of each kind of question that there is: each can be asked as of any moment, or of now."""
        callers = [Caller(app=self.app, user=name, correlation_id=new_id()) for name in (*PEOPLE, None)]
        readers = [*callers, Auditor(operator_id=None, correlation_id=new_id())]
        orders, conversations, messages = get_args(ConversationOrder), list(self.conversations), list(self.messages)
        pick = self.dice.choice
        kinds: list[Callable[[], Question]] = [
            lambda: partial(self.all_conversations, pick(callers), pick(orders), pick((None, None, True, False))),
            lambda: partial(self.conversations_after, pick(callers), pick(orders), pick(conversations)),
            lambda: partial(self.all_messages, pick(callers), pick(conversations)),
            lambda: partial(self.messages_before, pick(callers), pick(conversations), pick(messages)),
            lambda: partial(self.detail, pick(readers), pick(messages)),
            lambda: partial(self.rated, callers[0], pick((1, 2, 3))),
            lambda: pick((self.rated_since, partial(self.every_rating, callers[0]))),
        ]
        return [kind() for kind in kinds for _ in range(of_each_kind)]

    async def all_conversations(self, caller: Caller, order: Any, pinned: bool | None, as_of: AsOf | None) -> Any:
        pages: list[Any] = []
        while not pages or pages[-1][1]:
            page = Page(LIMIT, pages[-1][0][-1].conversation_id if pages else None)
            pages.append(await self.history.conversations(caller, order, page, pinned=pinned, as_of=as_of))
        return pages

    async def conversations_after(self, caller: Caller, order: Any, last: UUID, as_of: AsOf | None) -> Any:
        return await self.history.conversations(caller, order, Page(LIMIT, last), as_of=as_of)

    async def all_messages(self, caller: Caller, conversation_id: UUID, as_of: AsOf | None) -> Any:
        pages: list[Any] = []
        while not pages or pages[-1][1]:
            page = Page(LIMIT, pages[-1][0][0].message_id if pages else None)
            pages.append(await self.history.messages(caller, conversation_id, page, as_of))
        return pages

    async def messages_before(self, caller: Caller, conversation_id: UUID, first: UUID, as_of: AsOf | None) -> Any:
        return await self.history.messages(caller, conversation_id, Page(LIMIT, first), as_of)

    async def detail(self, reader: Reader, message_id: UUID, as_of: AsOf | None) -> Any:
        return await self.history.detail(reader, message_id, as_of)

    async def rated(self, caller: Caller, page: int, as_of: AsOf | None) -> Any:
        return await self.feedbacks.page(caller, page, LIMIT, as_of=as_of)

    async def rated_since(self, as_of: AsOf | None) -> Any:
        caller, since = Caller(app=self.app, user=None, correlation_id=new_id()), Period(start=1_767_225_600_500_000)
        return await self.feedbacks.page(caller, 1, LIMIT, since, as_of=as_of)

    async def every_rating(self, caller: Caller, as_of: AsOf | None) -> Any:
        return [view async for batch in self.feedbacks.every(caller, as_of=as_of) for view in batch]
