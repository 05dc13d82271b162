"""What of a conversation its followers have yet to read."""

from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import CONVERSATIONS, HEAD, LATER_EVENTS, MESSAGES
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import ConversationName
from chatledger.application.ports.views import BegunMessage, ConversationNews, LaterEvent


class SqlFollowedViews(SqlReading):
    """Where the messages of a conversation lie on the ledger."""

    async def conversation_news(self, conversation_id: UUID, after: int, limit: int) -> ConversationNews | None:
        """Its messages that began after a position, and where the ledger ends; None where the conversation is gone.

        Raises:
            KeyDestroyedError: the conversation has been erased.
        """
        table = CONVERSATIONS.c
        living = sa.select(table.key_id, table.name, sa.select(HEAD.c.position).scalar_subquery().label("head")).where(
            table.conversation_id == conversation_id, sa.not_(table.hidden)
        )

        def read(connection: sa.Connection) -> ConversationNews | None:
            row = connection.execute(living).first()
            if row is None:
                return None
            self._seals.open(row.key_id, ConversationName, row.name, conversation_id)
            return ConversationNews(row.key_id, row.head, _begun(connection, conversation_id, after, limit))

        return await self._reader.query(read)

    async def begun(self, conversation_id: UUID, after: int, limit: int) -> list[BegunMessage]:
        """The messages of a conversation that began after a position, oldest first, whatever became of it."""
        return await self._reader.query(lambda c: _begun(c, conversation_id, after, limit))

    async def later_events(self, conversation_id: UUID, after: int, limit: int) -> list[LaterEvent]:
        """What happened after a position to messages of a conversation beside their generations, oldest first."""
        table = LATER_EVENTS.c
        query = sa.select(table.message_id, table.version).where(
            table.conversation_id == conversation_id, table.position > after
        )
        query = query.order_by(table.position).limit(limit)
        return await self._reader.query(lambda c: [LaterEvent(*row) for row in c.execute(query)])

    async def under_way(self, conversation_id: UUID, position: int) -> list[UUID]:
        """The messages that were begun and not ended at a position, oldest first.

        Those that have ended since are sought among all that ended after it, in an index of their own: no more than
        whoever goes on from there has yet to be shown.
        """
        table = MESSAGES.c
        # Not by the index of positions, which would lead through all that was ever said before.
        begun = sa.and_(table.conversation_id == conversation_id, table.position + 0 <= position)
        query = sa.union_all(
            sa.select(table.message_id, table.position).where(begun, table.ended_position > position),
            sa.select(table.message_id, table.position).where(begun, table.ended_position.is_(None)),
        ).order_by("position")
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))


def _begun(connection: sa.Connection, conversation_id: UUID, after: int, limit: int) -> list[BegunMessage]:
    table = MESSAGES.c
    query = sa.select(table.message_id, table.position).where(
        table.conversation_id == conversation_id, table.position > after
    )
    return [BegunMessage(*row) for row in connection.execute(query.order_by(table.position).limit(limit))]
