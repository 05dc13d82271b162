"""Paging through a person's conversations while they move: none that stays is lost, none that stays comes twice."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import Caller, EndUsers, Ownership
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.ledger import Staged
from chatledger.application.ports.views import AppView, ConversationOrder, Page
from chatledger.application.queries.history import History
from chatledger.application.system_clock import new_id
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.conversation import Conversation
from chatledger.domain.end_user import EndUser
from chatledger.domain.message import Message
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


class Listed:
    """One person's conversations, and the model: where each stands in each order, and which have moved."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.person = new_id()
        self.name = str(self.person)
        end_users = EndUsers(place.views, place.store.keyring)
        self.lookup = end_users.lookup(APP.app_id, "service-api", self.name)
        ownership, reads = Ownership(end_users, place.views), ContentReads(place.ledger, place.store.clock)
        self.history = History(place.ledger.message, place.views, end_users, ownership, None, reads)
        self.staged: dict[UUID, Staged[Conversation]] = {}
        self.created: dict[UUID, int] = {}
        self.updated: dict[UUID, int] = {}
        self.moved: set[UUID] = set()

    async def meet(self) -> None:
        key = self.place.store.keyring.new_key(None)
        seen = EndUser.see(
            self.person, app_id=APP.app_id, kind="service-api", external_id=self.name, lookup=self.lookup
        )
        await self.hand_in(Staged(seen, key.key_id), new_keys=[key])

    async def begin(self) -> None:
        key = self.place.store.keyring.new_key(None)
        conversation = Conversation.start(
            new_id(), app_id=APP.app_id, end_user_id=self.person, hidden=False, name="", inputs={}, introduction=""
        )
        staged = self.staged[conversation.id] = Staged(conversation, key.key_id)
        at = await self.hand_in(staged, new_keys=[key])
        self.created[conversation.id] = self.updated[conversation.id] = at

    async def move(self, step: tuple[str, int], shown: Sequence[UUID] = ()) -> None:
        """Of those that are shown the last one is moved most often: it is where the next page begins."""
        kind, which = step
        if kind == "begin":
            await self.begin()
            return
        last = shown and which > 5
        staged = self.staged[shown[-1] if last else list(self.staged)[which % len(self.staged)]]
        conversation_id, conversation = staged.aggregate.id, staged.aggregate
        match kind:
            case "send":
                asked = a_question(conversation_id=conversation_id, end_user_id=self.person, app_id=APP.app_id)
                self.updated[conversation_id] = await self.hand_in(
                    Staged(Message.create(new_id(), asked), staged.key_id)
                )
                self.moved.add(conversation_id)
            case "rename":
                conversation.rename("A name")
                self.updated[conversation_id] = await self.hand_in(staged)
                self.moved.add(conversation_id)
            case "name automatically":
                conversation.take_found_name(f"A name that was found at {conversation.version}", conversation.version)
                await self.hand_in(staged)
            case "pin" if not conversation.is_pinned:
                conversation.pin()
                await self.hand_in(staged)

    async def hand_in(self, staged: Staged[Any], **more: Any) -> int:
        context = Context(actor=SYSTEM, correlation_id=new_id())
        return (await self.place.ledger.hand_in(staged, context=context, **more))[-1].position

    def sorted_by(self, order: ConversationOrder, pinned: bool | None) -> list[UUID]:
        places = self.created if order.endswith("created_at") else self.updated
        listed = [one for one in places if pinned in {None, self.staged[one].aggregate.is_pinned}]
        return sorted(listed, key=lambda one: places[one], reverse=order.startswith("-"))

    async def page(self, order: ConversationOrder, pinned: bool | None, page: Page) -> tuple[list[UUID], bool]:
        caller = Caller(app=APP, user=self.name, correlation_id=new_id())
        found, has_more = await self.history.conversations(caller, order, page, pinned=pinned)
        return [view.conversation_id for view in found], has_more


moves = st.tuples(st.sampled_from(("send", "send", "rename", "name automatically", "begin")), st.integers(0, 11))
orders = st.sampled_from(get_args(ConversationOrder))
pins = st.sampled_from((None, None, True, False))


def test_paging_while_conversations_move(place: Place) -> None:
    seen: Counter[str] = Counter()

    async def run(
        order: ConversationOrder, pinned: bool | None, limit: int, before: list[tuple[str, int]], between: list[Any]
    ) -> None:
        listed = Listed(place)
        await listed.meet()
        for _ in range(8):
            await listed.begin()
        for move in before:
            await listed.move(move)
        listed.moved.clear()
        there = listed.sorted_by(order, pinned)
        pages: list[list[UUID]] = []
        has_more = True
        while has_more:
            page, has_more = await listed.page(order, pinned, Page(limit, pages[-1][-1] if pages else None))
            pages.append(page)
            for move in between.pop() if between else ():
                await listed.move(move, page)
        assert all(len(page) == limit for page in pages[:-1])
        found = [one for page in pages for one in page]
        stayed = [one for one in there if one not in listed.moved or order.endswith("created_at")]
        assert [one for one in found if one in stayed] == stayed
        if order.startswith("-"):
            assert len(set(found)) == len(found)
        if order.endswith("updated_at"):
            seen["moved"] += bool(listed.moved)
            seen["the last one moved"] += any(page[-1] in listed.moved for page in pages[:-1])

    @settings(max_examples=60, deadline=None)
    @given(
        orders,
        pins,
        st.integers(1, 4),
        st.lists(moves | st.tuples(st.just("pin"), st.integers(0, 11)), max_size=8),
        st.lists(st.lists(moves, min_size=1, max_size=2), min_size=1, max_size=4),
    )
    def histories(order: Any, pinned: Any, limit: int, before: Any, between: Any) -> None:
        place.runner.run(run(order, pinned, limit, before, between))

    histories()
    assert min(seen["moved"], seen["the last one moved"]) > 0, seen
