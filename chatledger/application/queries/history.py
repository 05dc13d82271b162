"""Reading messages and conversations back, as they stand now or stood at an earlier position of the ledger."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import get_args
from uuid import UUID

import msgspec

from chatledger.application.accepting import MAX_PAGE, accept_choice, accept_number, accept_text
from chatledger.application.as_of import AsOf
from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import Caller, EndUsers, Ownership, Reader
from chatledger.application.errors import InvalidParameterError, Missing, NotFoundError
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.views import (
    ConversationOrder,
    ConversationView,
    MessageView,
    Page,
    VariableView,
    Views,
)
from chatledger.application.queries.past import Past, Then
from chatledger.domain.end_user import SHARED_EXTERNAL_ID
from chatledger.domain.message import Message
from chatledger.domain.values import OnBusy, TaskState
from chatledger.domain.variables import is_variable_name

MAX_LEFT_OFF = 10_000


LoadMessage = Callable[[UUID], Awaitable[Message | None]]
"""Folds a message from its events."""


class MessageDetail(msgspec.Struct, frozen=True):
    """One message with its place among its siblings and the version of its stream."""

    message: MessageView
    version: int
    siblings: Sequence[UUID]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A generation. Times are microseconds since the epoch.

    Attributes:
        ahead: how many earlier messages of the conversation have to end before it begins.
    """

    task_id: UUID
    message_id: UUID
    conversation_id: UUID
    state: TaskState
    attempt: int
    on_busy: OnBusy
    ahead: int
    created_at: int
    started_at: int | None
    ended_at: int | None
    error_code: str | None
    error: str | None


class _LeftOff:
    """Where the last conversations of pages stood when they were shown: those that move must not take the page along.

    May be lost: a page then goes on from where its last conversation stands now.
    """

    def __init__(self) -> None:
        self._positions: OrderedDict[UUID, int] = OrderedDict()

    def note(self, last: ConversationView) -> None:
        self._positions[last.conversation_id] = last.updated_position
        self._positions.move_to_end(last.conversation_id)
        if len(self._positions) > MAX_LEFT_OFF:
            self._positions.popitem(last=False)

    def get(self, conversation_id: UUID) -> int | None:
        return self._positions.get(conversation_id)


class History:
    """The queries of the read routes. While a message is being generated its answer is folded from the ledger.

    Those that take ``as_of`` answer, at an earlier position, as they did then; who asks is looked up as of now. What an
    operator asks for is put on record before it is given.
    """

    def __init__(
        self,
        load: LoadMessage,
        views: Views,
        end_users: EndUsers,
        ownership: Ownership,
        past: Past,
        reads: ContentReads,
    ) -> None:
        self._load = load
        self._reads = reads
        self._views = views
        self._end_users = end_users
        self._ownership = ownership
        self._past = past
        self._left_off = _LeftOff()

    def _at(self, then: Then) -> "History":
        ownership = Ownership(self._end_users, then.views)
        return History(then.load, then.views, self._end_users, ownership, self._past, self._reads)

    async def messages(
        self, caller: Caller, conversation_id: UUID, page: Page, as_of: AsOf | None = None
    ) -> tuple[list[MessageView], bool]:
        """The latest messages before ``page.beyond``, oldest first, and whether older ones exist.

        Raises:
            NotFoundError: the conversation, or the message to page from, is not the caller's.
            InvalidParameterError: a page is not that long, or ``as_of`` is no moment of the past.
        """
        accept_number("limit", page.limit, 1, MAX_PAGE)
        if as_of is not None:
            await self._require_first(caller, conversation_id)
            async with self._past.history(conversation_id, page, await self._past.position(as_of)) as then:
                return await self._at(then).messages(caller, conversation_id, page)
        await self._ownership.require_conversation(caller, conversation_id)
        found = await self._views.messages(conversation_id, page)
        if found is None:
            raise NotFoundError("first_message")
        messages, has_more = found
        return [await self._up_to_date(message) for message in messages], has_more

    async def message(
        self,
        caller: Reader,
        message_id: UUID,
        *,
        where_deleted: Missing = "message",
        even_erased: bool = False,
    ) -> MessageView:
        """One message. Those of a deleted conversation are there for auditors alone.

        Args:
            caller: who asks.
            message_id: for which.
            where_deleted: what is said to be missing where its conversation is deleted.
            even_erased: whether one is given of which nothing is left.

        Raises:
            NotFoundError: it is not the caller's, or its conversation is gone.
            KeyDestroyedError: it has been erased.
        """
        view = await self._views.message(message_id)
        if view is None:
            raise NotFoundError("message")
        await self._ownership.require(caller, "message", view.app_id, view.end_user_id)
        if isinstance(caller, Caller) and await self._is_deleted(view):
            raise NotFoundError(where_deleted)
        if view.is_erased and not even_erased:
            raise KeyDestroyedError(str(message_id))
        await self._reads.note(caller, "message", message_id)
        return view

    async def _require_first(self, caller: Reader, conversation_id: UUID) -> None:
        """Let pass whoever may know of a conversation, deleted or not: whose it is says its first message.

        Raises:
            NotFoundError: there is none, or it is not the caller's.
        """
        message_id = await self._views.first_message(conversation_id)
        if message_id is None:
            raise NotFoundError("conversation")
        await self._require_place(caller, "conversation", message_id)

    async def _require_place(self, caller: Reader, missing: Missing, message_id: UUID) -> None:
        place = await self._views.message_place(message_id)
        if place is None:
            raise NotFoundError(missing)
        await self._ownership.require(caller, missing, place.app_id, place.end_user_id)

    async def _is_deleted(self, view: MessageView) -> bool:
        """Whether the message's conversation is; that of a completion is never listed, nor deleted."""
        return view.mode != "completion" and await self._views.conversation_place(view.conversation_id) is None

    async def detail(self, caller: Reader, message_id: UUID, as_of: AsOf | None = None) -> MessageDetail:
        """One message with its version and its siblings.

        Raises:
            NotFoundError: it is not the caller's.
            InvalidParameterError: ``as_of`` is no moment of the past.
        """
        if as_of is not None:
            await self._require_place(caller, "message", message_id)
            async with self._past.message(message_id, await self._past.position(as_of)) as then:
                return await self._at(then).detail(caller, message_id)
        view = await self.message(caller, message_id)
        message = await self._load(message_id)
        if message is None:
            raise NotFoundError("message")
        siblings = await self._views.siblings(view)
        return MessageDetail(_with_answer(view, message), message.version, siblings)

    async def task(self, caller: Reader, task_id: UUID) -> Task:
        """A generation.

        Raises:
            NotFoundError: it is not the caller's.
        """
        view = await self._views.message_of_task(task_id)
        if view is None:
            raise NotFoundError("task")
        await self._ownership.require(caller, "task", view.app_id, view.end_user_id)
        await self._reads.note(caller, "message", view.message_id)
        return Task(
            task_id=view.task_id,
            message_id=view.message_id,
            conversation_id=view.conversation_id,
            state=view.state,
            attempt=view.attempt,
            on_busy=view.on_busy,
            ahead=await self._views.ahead(view.message_id) if view.waits else 0,
            created_at=view.created_at,
            started_at=view.started_at,
            ended_at=view.ended_at,
            error_code=view.error_code,
            error=view.error,
        )

    async def conversations(
        self,
        caller: Caller,
        order: ConversationOrder,
        page: Page,
        *,
        pinned: bool | None = None,
        as_of: AsOf | None = None,
    ) -> tuple[list[ConversationView], bool]:
        """One page of the user's conversations, and whether more follow; ``pinned`` are those that are, or are not.

        Raises:
            NotFoundError: the conversation to page from is not the caller's.
            InvalidParameterError: there is no such order, a page is not that long, or ``as_of`` is no moment of the
                past.
        """
        accept_number("limit", page.limit, 1, MAX_PAGE)
        order = accept_choice("sort_by", order, get_args(ConversationOrder))
        if pinned is not None and not isinstance(pinned, bool):
            raise InvalidParameterError("pinned", "pinned must be a boolean")
        app_id = caller.app.app_id
        person = await self._end_users.find(app_id, caller.kind, caller.user or SHARED_EXTERNAL_ID)
        position = None if as_of is None else await self._past.position(as_of)
        if position is not None and person is not None:
            asked = self._past.conversations(app_id, person.end_user_id, order, page, position, pinned=pinned)
            async with asked as then:
                shown, has_more = await self._at(then).conversations(caller, order, page, pinned=pinned)
                return shown, has_more or then.is_cut
        if page.beyond is not None and order.endswith("updated_at"):
            page = msgspec.structs.replace(page, left_at=self._left_off.get(page.beyond))
        found = None
        if person is not None:
            found = await self._views.conversations(app_id, person.end_user_id, order, page, pinned=pinned)
        elif page.beyond is None:
            return [], False
        if found is None:
            raise NotFoundError("last_conversation")
        if found[1]:
            self._left_off.note(found[0][-1])
        return found

    async def require_conversation(self, reader: Reader, conversation_id: UUID) -> None:
        """Let pass whoever may read a conversation. One that is deleted is there for nobody.

        Raises:
            NotFoundError: it does not exist, is not the reader's, or is gone.
        """
        await self._ownership.require_conversation(reader, conversation_id)
        await self._reads.note(reader, "conversation", conversation_id)

    async def conversation(self, caller: Caller, conversation_id: UUID) -> ConversationView:
        """One conversation.

        Raises:
            NotFoundError: it is not the caller's.
            KeyDestroyedError: it has been erased.
        """
        view = await self._views.conversation(conversation_id)
        if view is None:
            raise NotFoundError("conversation")
        await self._ownership.require(caller, "conversation", view.app_id, view.end_user_id)
        if view.is_erased:
            raise KeyDestroyedError(str(conversation_id))
        return view

    async def variables(
        self, caller: Caller, conversation_id: UUID, page: Page, name: str | None = None
    ) -> tuple[list[VariableView], bool]:
        """One page of a conversation's variables in the order of their declaration, and whether more follow.

        Args:
            caller: who asks.
            conversation_id: whose.
            page: which part.
            name: of the one that is asked for, in any case of its letters.

        Raises:
            NotFoundError: the conversation is not the caller's.
            InvalidParameterError: no variable can have that name, the conversation has none to page from, or a page is
                not that long.
        """
        accept_number("limit", page.limit, 1, MAX_PAGE)
        if name is not None and not is_variable_name(accept_text("variable_name", name)):
            reason = "variable_name must be 1 to 255 letters, digits, hyphens, underscores and dots"
            raise InvalidParameterError("variable_name", reason)
        await self._ownership.require_conversation(caller, conversation_id)
        found = await self._views.variables(conversation_id)
        if page.beyond is not None:
            places = {variable.variable_id: place for place, variable in enumerate(found, start=1)}
            if page.beyond not in places:
                raise InvalidParameterError("last_id", "")
            found = found[places[page.beyond] :]
        if name is not None:
            found = [variable for variable in found if variable.name.lower() == name.lower()]
        return found[: page.limit], len(found) > page.limit

    async def _up_to_date(self, view: MessageView) -> MessageView:
        if view.ended_at is not None or not view.attempt:
            return view
        message = await self._load(view.message_id)
        return view if message is None else _with_answer(view, message)


def _with_answer(view: MessageView, message: Message) -> MessageView:
    return msgspec.structs.replace(
        view,
        answer=message.answer,
        resources=message.resources,
        thoughts=tuple(message.thoughts.values()),
        answer_files=message.files,
    )
