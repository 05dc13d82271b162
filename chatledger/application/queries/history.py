"""Reading messages and conversations back, as they stand now."""

from collections.abc import Sequence
from typing import get_args
from uuid import UUID

import msgspec

from chatledger.application.accepting import MAX_PAGE, accept_choice, accept_number
from chatledger.application.caller import Caller, EndUsers, Ownership, Reader
from chatledger.application.errors import NotFoundError
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.views import (
    ConversationOrder,
    ConversationView,
    FeedbackView,
    MessageView,
    Page,
    Views,
)
from chatledger.domain.end_user import SHARED_EXTERNAL_ID
from chatledger.domain.message import Message
from chatledger.domain.values import TaskState

MAX_PAGE_NUMBER = 1_000_000
MAX_FEEDBACKS = MAX_PAGE + 1


class MessageDetail(msgspec.Struct, frozen=True):
    """One message with its place among its siblings and the version of its stream."""

    message: MessageView
    version: int
    siblings: Sequence[UUID]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A generation. Times are microseconds since the epoch."""

    task_id: UUID
    message_id: UUID
    conversation_id: UUID
    state: TaskState
    attempt: int
    created_at: int
    started_at: int | None
    ended_at: int | None
    error_code: str | None
    error: str | None


class History:
    """The queries of the read routes. While a message is being generated its answer is folded from the ledger."""

    def __init__(self, ledger: Ledger, views: Views, end_users: EndUsers, ownership: Ownership) -> None:
        self._ledger = ledger
        self._views = views
        self._end_users = end_users
        self._ownership = ownership

    async def messages(self, caller: Caller, conversation_id: UUID, page: Page) -> tuple[list[MessageView], bool]:
        """The latest messages before ``page.beyond``, oldest first, and whether older ones exist.

        Raises:
            NotFoundError: the conversation, or the message to page from, is not the caller's.
            InvalidParameterError: a page is not that long.
        """
        accept_number("limit", page.limit, 1, MAX_PAGE)
        place = await self._views.conversation_place(conversation_id)
        if place is None:
            raise NotFoundError("conversation")
        await self._ownership.require(caller, "conversation", *place)
        found = await self._views.messages(conversation_id, page)
        if found is None:
            raise NotFoundError("first_message")
        messages, has_more = found
        return [await self._up_to_date(message) for message in messages], has_more

    async def message(self, caller: Reader, message_id: UUID) -> MessageView:
        """One message.

        Raises:
            NotFoundError: it is not the caller's.
        """
        view = await self._views.message(message_id)
        if view is None:
            raise NotFoundError("message")
        await self._ownership.require(caller, "message", view.app_id, view.end_user_id)
        return view

    async def detail(self, caller: Reader, message_id: UUID) -> MessageDetail:
        """One message with its version and its siblings.

        Raises:
            NotFoundError: it is not the caller's.
        """
        view = await self.message(caller, message_id)
        staged = await self._ledger.load(Message, message_id)
        if staged is None:
            raise NotFoundError("message")
        siblings = await self._views.siblings(view)
        return MessageDetail(_with_answer(view, staged.aggregate), staged.aggregate.version, siblings)

    async def task(self, caller: Reader, task_id: UUID) -> Task:
        """A generation.

        Raises:
            NotFoundError: it is not the caller's.
        """
        view = await self._views.message_of_task(task_id)
        if view is None:
            raise NotFoundError("task")
        await self._ownership.require(caller, "task", view.app_id, view.end_user_id)
        return Task(
            task_id=view.task_id,
            message_id=view.message_id,
            conversation_id=view.conversation_id,
            state=view.state,
            attempt=view.attempt,
            created_at=view.created_at,
            started_at=view.started_at,
            ended_at=view.ended_at,
            error_code=view.error_code,
            error=view.error,
        )

    async def conversations(
        self, caller: Caller, order: ConversationOrder, page: Page
    ) -> tuple[list[ConversationView], bool]:
        """One page of the user's conversations, and whether more follow.

        Raises:
            NotFoundError: the conversation to page from is not the caller's.
            InvalidParameterError: there is no such order, or a page is not that long.
        """
        accept_number("limit", page.limit, 1, MAX_PAGE)
        order = accept_choice("sort_by", order, get_args(ConversationOrder))
        app_id = caller.app.app_id
        person = await self._end_users.find(app_id, caller.kind, caller.user or SHARED_EXTERNAL_ID)
        found = None
        if person is not None:
            found = await self._views.conversations(app_id, person.end_user_id, order, page)
        elif page.beyond is None:
            return [], False
        if found is None:
            raise NotFoundError("last_conversation")
        return found

    async def feedbacks(self, caller: Caller, page: int, limit: int) -> list[FeedbackView]:
        """One page of the app's ratings, newest first. Pages count from 1.

        Raises:
            InvalidParameterError: there is no page of that number, or a page is not that long.
        """
        accept_number("page", page, 1, MAX_PAGE_NUMBER)
        accept_number("limit", limit, 1, MAX_FEEDBACKS)
        return await self._views.feedbacks(caller.app.app_id, (page - 1) * limit, limit)

    async def _up_to_date(self, view: MessageView) -> MessageView:
        if view.ended_at is not None or not view.attempt:
            return view
        staged = await self._ledger.load(Message, view.message_id)
        return view if staged is None else _with_answer(view, staged.aggregate)


def _with_answer(view: MessageView, message: Message) -> MessageView:
    return msgspec.structs.replace(
        view,
        answer=message.answer,
        resources=message.resources,
        thoughts=tuple(message.thoughts.values()),
        answer_files=message.files,
    )
