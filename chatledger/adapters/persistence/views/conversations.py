"""Conversations and their variables."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import CONVERSATION_VARIABLES, CONVERSATIONS
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import ConversationContent, ConversationName, VariableContent
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.views import ConversationOrder, ConversationView, Page, VariableView


class SqlConversationViews(SqlReading):
    """Conversations that lists show, and their variables."""

    async def conversation_place(self, conversation_id: UUID) -> tuple[UUID, UUID] | None:
        """The app and the end user that a conversation belongs to."""
        table = CONVERSATIONS.c
        query = sa.select(table.app_id, table.end_user_id).where(
            table.conversation_id == conversation_id, sa.not_(table.hidden)
        )
        row = await self._reader.query(lambda c: c.execute(query).first())
        return None if row is None else (row.app_id, row.end_user_id)

    async def conversation(self, conversation_id: UUID) -> ConversationView | None:
        """One conversation that lists show."""
        table = CONVERSATIONS.c
        query = sa.select(CONVERSATIONS).where(table.conversation_id == conversation_id, sa.not_(table.hidden))

        def read(connection: sa.Connection) -> ConversationView | None:
            row = connection.execute(query).first()
            return None if row is None else self._conversation(row)

        return await self._reader.query(read)

    async def conversations(
        self, app_id: UUID, end_user_id: UUID, order: ConversationOrder, page: Page, *, pinned: bool | None = None
    ) -> tuple[list[ConversationView], bool] | None:
        """One page of a person's conversations, and whether more follow; None if ``page.beyond`` is not among them.

        ``pinned`` narrows it to those that are, or are not.
        """
        table = CONVERSATIONS.c
        place = table.created_position if order.endswith("created_at") else table.updated_position
        descending = order.startswith("-")
        own = sa.and_(table.end_user_id == end_user_id, table.app_id == app_id, sa.not_(table.hidden))

        def read(connection: sa.Connection) -> tuple[list[ConversationView], bool] | None:
            query = sa.select(CONVERSATIONS).where(own)
            if pinned is not None:
                query = query.where(table.is_pinned if pinned else sa.not_(table.is_pinned))
            if page.beyond is not None:
                cursor = sa.select(place).where(own, table.conversation_id == page.beyond)
                last = connection.execute(cursor).scalar()
                if last is None:
                    return None
                if page.left_at is not None:
                    last = page.left_at
                query = query.where(place < last if descending else place > last)
            query = query.order_by(place.desc() if descending else place).limit(page.limit + 1)
            rows = connection.execute(query).all()
            return [self._conversation(row) for row in rows[: page.limit]], len(rows) > page.limit

        return await self._reader.query(read)

    def _conversation(self, row: Any) -> ConversationView:
        try:
            name = self._seals.open(row.key_id, ConversationName, row.name, row.conversation_id)
            content = self._seals.open(row.key_id, ConversationContent, row.content, row.conversation_id)
            is_erased = False
        except KeyDestroyedError:
            name, content, is_erased = ConversationName(""), ConversationContent({}, ""), True
        return ConversationView(
            conversation_id=row.conversation_id,
            app_id=row.app_id,
            end_user_id=row.end_user_id,
            name=name.name,
            inputs=content.inputs,
            introduction=content.introduction,
            created_at=row.created_at,
            updated_at=row.updated_at,
            updated_position=row.updated_position,
            is_pinned=row.is_pinned,
            is_erased=is_erased,
        )

    async def unnamed(self, limit: int, begun_before: int | None = None) -> list[UUID]:
        """Conversations that are to get a name by themselves and have none yet, oldest first.

        With a time in microseconds only those that began before it.
        """
        table = CONVERSATIONS.c
        query = sa.select(table.conversation_id).where(table.is_to_be_named)
        if begun_before is not None:
            query = query.where(table.created_at < begun_before)
        query = query.order_by(table.created_position).limit(limit)
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def variables(self, conversation_id: UUID) -> list[VariableView]:
        """All variables of a conversation, in the order of their declaration. An app declares them: they are few."""
        table = CONVERSATION_VARIABLES.c
        query = (
            sa.select(CONVERSATION_VARIABLES).where(table.conversation_id == conversation_id).order_by(table.position)
        )
        return await self._reader.query(lambda c: [self._variable(row) for row in c.execute(query)])

    async def variable(self, variable_id: UUID) -> VariableView | None:
        """One variable."""
        query = sa.select(CONVERSATION_VARIABLES).where(CONVERSATION_VARIABLES.c.variable_id == variable_id)

        def read(connection: sa.Connection) -> VariableView | None:
            row = connection.execute(query).first()
            return None if row is None else self._variable(row)

        return await self._reader.query(read)

    def _variable(self, row: Any) -> VariableView:
        content = self._seals.open(row.key_id, VariableContent, row.content, row.variable_id)
        return VariableView(
            variable_id=row.variable_id,
            conversation_id=row.conversation_id,
            name=content.name,
            value_type=row.value_type,
            value=content.value,
            description=content.description,
            position=row.position,
            updated_position=row.updated_position,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
