"""What there is of one person."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import CONVERSATIONS, FILES, MESSAGES
from chatledger.adapters.persistence.views.reading import SqlReading


class SqlBelongingsViews(SqlReading):
    """Pages of ids."""

    async def conversations_of(self, end_user_id: UUID, after: UUID | None, limit: int) -> Sequence[UUID]:
        """A person's conversations, oldest first: deleted ones and those of completions too."""
        table = CONVERSATIONS.c
        return await self._page(
            table.conversation_id, table.created_position, table.end_user_id == end_user_id, after, limit
        )

    async def messages_in(self, conversation_id: UUID, after: UUID | None, limit: int) -> Sequence[UUID]:
        """The messages of a conversation, oldest first."""
        table = MESSAGES.c
        return await self._page(
            table.message_id, table.position, table.conversation_id == conversation_id, after, limit
        )

    async def files_of(self, end_user_id: UUID, after: UUID | None, limit: int) -> Sequence[UUID]:
        """A person's files, uploaded by them or made for them, oldest first."""
        table = FILES.c
        # Of files made in one moment the ids, which rise with time, say which comes first.
        return await self._page(table.file_id, table.file_id, table.end_user_id == end_user_id, after, limit)

    async def _page(
        self, key: sa.Column[Any], order: sa.Column[Any], theirs: sa.ColumnElement[bool], after: UUID | None, limit: int
    ) -> Sequence[UUID]:
        query = sa.select(key).where(theirs).order_by(order).limit(limit)
        if after is not None:
            last = after if order is key else sa.select(order).where(key == after).scalar_subquery()
            query = query.where(order > last)
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))
