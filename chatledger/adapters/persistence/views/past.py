"""Where the rows of a page lay at an earlier position. Nothing here opens what is sealed."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.tables import MESSAGES, RATINGS, RENAMINGS
from chatledger.application.ports.past import PastConversation, PastRating
from chatledger.application.ports.views import ConversationOrder, Page


class SqlPastPlaces:
    """By rows that are never deleted: messages, the names that people gave, and what was ever rated."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def messages(self, conversation_id: UUID, page: Page, position: int) -> list[UUID]:
        """The messages of a page of history, one more where there are older ones, and the one that it goes back from.

        Nothing, where that was not in the conversation by then.
        """
        table = MESSAGES.c
        place = sa.select(table.position).where(
            table.message_id == page.beyond, table.conversation_id == conversation_id, table.position <= position
        )

        def read(connection: sa.Connection) -> list[UUID]:
            up_to, anchor = position, list[UUID]()
            if page.beyond is not None:
                first = connection.execute(place).scalar()
                if first is None:
                    return []
                up_to, anchor = first - 1, [page.beyond]
            query = sa.select(table.message_id).where(table.conversation_id == conversation_id, table.position <= up_to)
            found = connection.execute(query.order_by(table.position.desc()).limit(page.limit + 1)).scalars()
            return [*found, *anchor]

        return await self._reader.query(read)

    async def conversations(
        self, end_user_id: UUID, order: ConversationOrder, limit: int, position: int, *, beyond: int | None = None
    ) -> list[PastConversation]:
        """A person's conversations, deleted ones too, in their order by then; with ``beyond`` those after a place."""
        descending, after, up_to = order.startswith("-"), 0, position
        if beyond is not None:
            after, up_to = (0, beyond - 1) if descending else (beyond, position)

        def sorted_and_cut(query: sa.Select[Any, Any] | sa.CompoundSelect[Any, Any]) -> sa.Select[Any]:
            found = query.subquery()
            return sa.select(found).order_by(found.c.position.desc() if descending else found.c.position).limit(limit)

        # Each part is cut by itself: so the databases read no more of its index than that takes.
        parts = [
            sorted_and_cut(part.where(table.c.position > after, table.c.position <= up_to)).subquery()
            for table, part in _places(end_user_id, order, position)
        ]
        query = sorted_and_cut(sa.union_all(*(sa.select(part) for part in parts)))
        return await self._reader.query(lambda c: _with_last_messages(c, c.execute(query).all(), position))

    async def conversation(
        self, end_user_id: UUID, conversation_id: UUID, order: ConversationOrder, position: int
    ) -> PastConversation | None:
        """One of them, or None where the person had no such conversation by then."""
        parts = _places(end_user_id, order, position)
        query = sa.union_all(*(part.where(table.c.conversation_id == conversation_id) for table, part in parts))
        found = await self._reader.query(lambda c: _with_last_messages(c, c.execute(query).all(), position))
        return found[0] if found else None

    async def ratings(
        self, app_id: UUID, position: int, limit: int, *, after: int = 0, up_to: int, offset: int = 0
    ) -> list[PastRating]:
        """The ratings of an app that stood by then, first given between two positions, newest first."""
        table = RATINGS.c
        stood = sa.or_(table.withdrawn_position == 0, table.withdrawn_position > position)
        query = (
            sa.select(table.message_id, table.position)
            .where(table.app_id == app_id, table.position > after, table.position <= up_to, stood)
            .order_by(table.position.desc())
            .offset(offset)
            .limit(limit)
        )
        return await self._reader.query(lambda c: [PastRating(*row) for row in c.execute(query)])


def _places(end_user_id: UUID, order: ConversationOrder, position: int) -> list[tuple[sa.Table, sa.Select[Any, Any]]]:
    """Each conversation of a person with its place by a position: that of its first message, or of what last moved it.

    It is in one of several parts; each is of a table.
    """
    if order.endswith("created_at"):
        earlier = MESSAGES.alias("earlier")
        is_first = sa.not_(
            sa.exists().where(
                earlier.c.conversation_id == MESSAGES.c.conversation_id, earlier.c.position < MESSAGES.c.position
            )
        )
        return [(MESSAGES, _own(MESSAGES, end_user_id, position).where(is_first))]
    moving = (MESSAGES, RENAMINGS)
    return [
        (table, _own(table, end_user_id, position).where(*(_is_last(table, other, position) for other in moving)))
        for table in moving
    ]


def _own(table: sa.Table, end_user_id: UUID, position: int) -> sa.Select[Any, Any]:
    columns = table.c
    return sa.select(columns.conversation_id, columns.position).where(
        columns.end_user_id == end_user_id, columns.position <= position
    )


def _is_last(table: sa.Table, other: sa.Table, position: int) -> sa.ColumnElement[bool]:
    later = other.alias()
    return sa.not_(
        sa.exists().where(
            later.c.conversation_id == table.c.conversation_id,
            later.c.position > table.c.position,
            later.c.position <= position,
        )
    )


def _with_last_messages(connection: sa.Connection, places: Sequence[Any], position: int) -> list[PastConversation]:
    table = MESSAGES.c
    found = []
    for conversation_id, place in places:
        last = (
            sa.select(table.message_id)
            .where(table.conversation_id == conversation_id, table.position <= position)
            .order_by(table.position.desc())
            .limit(1)
        )
        found.append(PastConversation(conversation_id, place, connection.execute(last).scalar_one()))
    return found
