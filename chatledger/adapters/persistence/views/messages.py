"""Messages as history shows them."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from chatledger.adapters.persistence.tables import FEEDBACKS, MESSAGES
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import Answer, FeedbackContent, Question, Suggestions, prompt_of
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.views import MessagePlace, MessageView, Page
from chatledger.domain.values import Usage

_decode_usage = msgspec.json.Decoder(Usage).decode

NO_ANSWER, NO_FEEDBACK = Answer("", None, ()), FeedbackContent(None)

_OWN_FEEDBACK = sa.and_(FEEDBACKS.c.message_id == MESSAGES.c.message_id, FEEDBACKS.c.source == "user")
MESSAGE_ROWS = sa.select(
    MESSAGES, FEEDBACKS.c.rating.label("rating"), FEEDBACKS.c.content.label("feedback_content")
).select_from(MESSAGES.outerjoin(FEEDBACKS, _OWN_FEEDBACK))


class SqlMessageViews(SqlReading):
    """Single messages, and pages of them."""

    async def first_message(self, conversation_id: UUID) -> UUID | None:
        """The message that a conversation began with."""
        table = MESSAGES.c
        query = (
            sa.select(table.message_id)
            .where(table.conversation_id == conversation_id)
            .order_by(table.position)
            .limit(1)
        )
        return await self._reader.query(lambda c: c.execute(query).scalar())

    async def suggestions(self, message_id: UUID) -> tuple[str, ...] | None:
        """The questions that a model would ask next after a message, or None where none was asked with success."""
        table = MESSAGES.c
        query = sa.select(table.key_id, table.suggestions).where(table.message_id == message_id)

        def read(connection: sa.Connection) -> tuple[str, ...] | None:
            row = connection.execute(query).first()
            if row is None or not row.suggestions:
                return None
            return self._seals.open(row.key_id, Suggestions, row.suggestions, message_id).questions

        return await self._reader.query(read)

    async def message(self, message_id: UUID) -> MessageView | None:
        """One message."""
        return await self._one_message(MESSAGES.c.message_id == message_id)

    async def message_place(self, message_id: UUID) -> MessagePlace | None:
        """Where a message belongs, readable or not."""
        table = MESSAGES.c
        query = sa.select(table.app_id, table.end_user_id, table.conversation_id, table.mode)
        query = query.where(table.message_id == message_id)
        row = await self._reader.query(lambda c: c.execute(query).first())
        return None if row is None else MessagePlace(*row)

    async def message_of_task(self, task_id: UUID) -> MessageView | None:
        """The message that a task generates."""
        return await self._one_message(MESSAGES.c.task_id == task_id)

    async def _one_message(self, condition: sa.ColumnElement[bool]) -> MessageView | None:
        def read(connection: sa.Connection) -> MessageView | None:
            row = connection.execute(MESSAGE_ROWS.where(condition)).first()
            return None if row is None else self._message(row)

        return await self._reader.query(read)

    async def messages(self, conversation_id: UUID, page: Page) -> tuple[list[MessageView], bool] | None:
        """The latest messages before ``page.beyond``, oldest first, and whether older ones exist.

        None if ``page.beyond`` is not in the conversation.
        """
        table = MESSAGES.c

        def read(connection: sa.Connection) -> tuple[list[MessageView], bool] | None:
            query = MESSAGE_ROWS.where(table.conversation_id == conversation_id)
            if page.beyond is not None:
                cursor = sa.select(table.position).where(
                    table.message_id == page.beyond, table.conversation_id == conversation_id
                )
                first = connection.execute(cursor).scalar()
                if first is None:
                    return None
                query = query.where(table.position < first)
            rows = connection.execute(query.order_by(table.position.desc()).limit(page.limit + 1)).all()
            return [self._message(row) for row in reversed(rows[: page.limit])], len(rows) > page.limit

        return await self._reader.query(read)

    async def saved_messages(self, end_user_id: UUID, page: Page) -> tuple[list[MessageView], bool] | None:
        """A person's saved messages, the last saved first, and whether more follow.

        None if ``page.beyond`` is not among them.
        """
        table = MESSAGES.c
        saved = sa.and_(table.end_user_id == end_user_id, table.saved_position.is_not(None))

        def read(connection: sa.Connection) -> tuple[list[MessageView], bool] | None:
            query = MESSAGE_ROWS.where(saved)
            if page.beyond is not None:
                cursor = sa.select(table.saved_position).where(table.message_id == page.beyond, saved)
                last = connection.execute(cursor).scalar()
                if last is None:
                    return None
                query = query.where(table.saved_position < last)
            rows = connection.execute(query.order_by(table.saved_position.desc()).limit(page.limit + 1)).all()
            return [self._message(row) for row in rows[: page.limit]], len(rows) > page.limit

        return await self._reader.query(read)

    def _opened(self, row: Any) -> tuple[Question, Answer, FeedbackContent]:
        """What a row has sealed.

        Raises:
            KeyDestroyedError: it has been erased.
        """
        answer, feedback = NO_ANSWER, NO_FEEDBACK
        question = self._seals.open(row.key_id, Question, row.question, row.message_id)
        if row.answer is not None:
            answer = self._seals.open(row.key_id, Answer, row.answer, row.message_id)
        if row.feedback_content is not None:
            feedback = self._seals.open(row.key_id, FeedbackContent, row.feedback_content, row.message_id, "user")
        return question, answer, feedback

    def _message(self, row: Any) -> MessageView:
        try:
            question, answer, feedback = self._opened(row)
            is_erased = False
        except KeyDestroyedError:
            question, answer, feedback, is_erased = Question("", {}), NO_ANSWER, NO_FEEDBACK, True
        return MessageView(
            message_id=row.message_id,
            conversation_id=row.conversation_id,
            app_id=row.app_id,
            end_user_id=row.end_user_id,
            parent_id=row.parent_id,
            task_id=row.task_id,
            mode=row.mode,
            position=row.position,
            created_at=row.created_at,
            state=row.state,
            attempt=row.attempt,
            on_busy=row.on_busy,
            waits=row.waits,
            started_at=row.started_at,
            ended_at=row.ended_at,
            query=question.query,
            prompt=prompt_of(question, answer) if row.enters_prompts and not is_erased else None,
            inputs=question.inputs,
            query_files=question.files,
            answer=answer.text,
            resources=answer.resources,
            thoughts=answer.thoughts,
            answer_files=answer.files,
            annotation_id=row.annotation_id,
            annotation_account=answer.account,
            usage=None if row.usage is None else _decode_usage(row.usage),
            stopped_by=row.stopped_by,
            error_code=row.error_code,
            error=answer.error,
            feedback=row.rating,
            feedback_content=feedback.content,
            is_erased=is_erased,
        )
