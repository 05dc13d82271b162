"""Where the rows of a page lay at an earlier position. Nothing here opens what is sealed."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.tables import MESSAGES, RATINGS, RENAMINGS
from chatledger.application.ports.past import PastConversation, PastRating
from chatledger.application.ports.views import ConversationOrder, Page, Period


class SqlPastPlaces:
    """By rows that are never deleted: messages, the names that people gave, and what was ever rated."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def messages(self, conversation_id: UUID, page: Page, position: int) -> list[UUID]:
        """The messages of a page of history, one more where there are older ones, and the one that it goes back from.

        None, where that was not in the conversation by then.
        """
        table = MESSAGES.c
        then = sa.and_(table.conversation_id == conversation_id, table.position <= position)

        def read(connection: sa.Connection) -> list[UUID]:
            query, anchor = sa.select(table.message_id).where(then), list[UUID]()
            if page.beyond is not None:
                first = connection.execute(
                    sa.select(table.position).where(then, table.message_id == page.beyond)
                ).scalar()
                if first is None:
                    return []
                query, anchor = query.where(table.position < first), [page.beyond]
            found = connection.execute(query.order_by(table.position.desc()).limit(page.limit + 1)).scalars()
            return [*found, *anchor]

        return await self._reader.query(read)

    async def conversations(
        self, end_user_id: UUID, order: ConversationOrder, limit: int, position: int, *, beyond: int | None = None
    ) -> list[PastConversation]:
        """A person's conversations, deleted ones too, in their order by then; with ``beyond`` those after a place."""
        places = _places(end_user_id, order, position)
        query, descending = sa.select(places), order.startswith("-")
        if beyond is not None:
            query = query.where(places.c.position < beyond if descending else places.c.position > beyond)
        query = query.order_by(places.c.position.desc() if descending else places.c.position).limit(limit)
        return await self._reader.query(lambda c: _with_last_messages(c, c.execute(query).all(), position))

    async def conversation(
        self, end_user_id: UUID, conversation_id: UUID, order: ConversationOrder, position: int
    ) -> PastConversation | None:
        """One of them, or None where the person had no such conversation by then."""
        places = _places(end_user_id, order, position, conversation_id)
        query = sa.select(places)
        found = await self._reader.query(lambda c: _with_last_messages(c, c.execute(query).all(), position))
        return found[0] if found else None

    async def ratings(
        self, app_id: UUID, period: Period, limit: int, position: int, *, offset: int = 0, beyond: int | None = None
    ) -> list[PastRating]:
        """The ratings of an app that stood by then, newest first; with ``beyond`` those given before a position."""
        table = RATINGS.c
        stood = sa.or_(table.withdrawn_position == 0, table.withdrawn_position > position)
        query = sa.select(table.message_id, table.position).where(
            table.app_id == app_id, table.position <= position, stood
        )
        if period.start is not None:
            query = query.where(table.created_at >= period.start)
        if period.end is not None:
            query = query.where(table.created_at < period.end)
        if beyond is not None:
            query = query.where(table.position < beyond)
        query = query.order_by(table.created_at.desc(), table.position.desc()).offset(offset).limit(limit)
        return await self._reader.query(lambda c: [PastRating(*row) for row in c.execute(query)])


def _places(
    end_user_id: UUID, order: ConversationOrder, position: int, conversation_id: UUID | None = None
) -> sa.Subquery:
    """Each conversation of a person with its place by a position: its first message, or the last that moved it."""
    moves = [_moves(MESSAGES, end_user_id, position, conversation_id)]
    if order.endswith("created_at"):
        (begun,) = moves
        earlier = MESSAGES.alias("earlier")
        is_later = sa.exists().where(
            earlier.c.conversation_id == begun.c.conversation_id, earlier.c.position < begun.c.position
        )
        return sa.select(begun).where(sa.not_(is_later)).subquery("places")
    moves.append(_moves(RENAMINGS, end_user_id, position, conversation_id))
    move = sa.union_all(*(sa.select(each) for each in moves)).subquery("move")
    is_overtaken = []
    for table in (MESSAGES, RENAMINGS):
        later = table.alias()
        is_overtaken.append(
            sa.exists().where(
                later.c.conversation_id == move.c.conversation_id,
                later.c.position > move.c.position,
                later.c.position <= position,
            )
        )
    return sa.select(move).where(*(sa.not_(each) for each in is_overtaken)).subquery("places")


def _moves(table: sa.Table, end_user_id: UUID, position: int, conversation_id: UUID | None) -> sa.Subquery:
    query = sa.select(table.c.conversation_id, table.c.position).where(
        table.c.end_user_id == end_user_id, table.c.position <= position
    )
    if conversation_id is not None:
        query = query.where(table.c.conversation_id == conversation_id)
    return query.subquery()


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
