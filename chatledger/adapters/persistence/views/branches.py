"""How the messages of a conversation go on from each other."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import MESSAGES
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import Answer, Question, prompt_of
from chatledger.application.ports.generator import Exchange
from chatledger.application.ports.storage import LAST_POSITION
from chatledger.application.ports.views import MessageView
from chatledger.domain.branch import Link, branch
from chatledger.domain.context_window import estimated_tokens, within
from chatledger.domain.values import NIL_UUID

_PART = 50
"""How many messages of a branch are read at once."""


class SqlBranchViews(SqlReading):
    """Parents, siblings, and what was said along a branch."""

    async def siblings(self, message: MessageView, up_to: int = LAST_POSITION) -> list[UUID]:
        """The other messages that go on from the same one, or begin the conversation as it does, oldest first.

        ``up_to`` is the position that they were sent by.
        """
        table = MESSAGES.c
        own = sa.and_(table.conversation_id == message.conversation_id, table.position <= up_to)
        places = sa.select(table.message_id, table.parent_id, table.position).where(own)
        said_after = places.where(table.replayed_from.is_(None)).order_by(table.position).limit(1)

        def read(connection: sa.Connection) -> list[UUID]:
            parent_id = _parent(connection, message.conversation_id, message.parent_id, message.position)
            after = 0 if parent_id is None else _position(connection, message.conversation_id, parent_id)
            children = connection.execute(places.where(table.is_branch, table.parent_id == parent_id)).all()
            in_line = [
                row
                for row in connection.execute(said_after.where(table.position > after))
                if row.parent_id == NIL_UUID
                and _parent(connection, message.conversation_id, NIL_UUID, row.position) == parent_id
            ]
            # Sorted here: the databases would read the whole conversation to have them in order.
            found = sorted((*in_line, *children), key=lambda row: row.position)
            return [row.message_id for row in found if row.message_id != message.message_id]

        return await self._reader.query(read)

    async def parent(self, message: MessageView) -> UUID | None:
        """The message that this one goes on from; where its parent is the nil id, the one before it in time."""
        return await self._reader.query(
            lambda c: _parent(c, message.conversation_id, message.parent_id, message.position)
        )

    async def exchanges(
        self, message_id: UUID, context_cut: int, *, longest: int, tokens: int, most: int | None = None
    ) -> Sequence[Exchange]:
        """The answered messages that a message goes on from, as they were at a ledger position, oldest first."""
        table = MESSAGES.c
        place = sa.select(table.conversation_id, table.parent_id, table.position).where(table.message_id == message_id)

        def read(connection: sa.Connection) -> list[Exchange]:
            own = connection.execute(place).one()

            # The cut of one that waited for its turn is beyond its own position: what came meanwhile is not before it.
            before = min(context_cut + 1, own.position)
            ancestors = branch(own.parent_id, before, partial(_older, connection, own.conversation_id), longest)
            said = islice(self._said(connection, ancestors, context_cut), most)
            return list(within(tokens, said, _tokens))[::-1]

        return await self._reader.query(read)

    def _said(self, connection: sa.Connection, messages: Iterable[Link], context_cut: int) -> Iterator[Exchange]:
        """Those of the messages that had ended with an answer, in their order; read in parts, as they are asked for."""
        table = MESSAGES.c
        query = sa.select(table.message_id, table.key_id, table.question, table.answer).where(
            table.ended_position <= context_cut, table.enters_prompts
        )
        ids = (message.message_id for message in messages)
        while part := list(islice(ids, _PART)):
            rows = {row.message_id: row for row in connection.execute(query.where(table.message_id.in_(part)))}
            for message_id in part:
                if message_id in rows:
                    yield self._exchange(rows[message_id])

    def _exchange(self, row: Any) -> Exchange:
        question = self._seals.open(row.key_id, Question, row.question, row.message_id)
        answer = self._seals.open(row.key_id, Answer, row.answer, row.message_id)
        return Exchange(prompt_of(question, answer), answer.text)


def _tokens(exchange: Exchange) -> int:
    return estimated_tokens(exchange.query) + estimated_tokens(exchange.answer)


def _older(connection: sa.Connection, conversation_id: UUID, parent_id: UUID, before: int) -> list[Link]:
    """A part of a conversation, newest first, that begins with a message or, for the nil id, before a position."""
    table = MESSAGES.c
    query = sa.select(table.message_id, table.parent_id, table.position, table.replayed_from)
    query = query.where(table.conversation_id == conversation_id)
    if parent_id == NIL_UUID:
        query = query.where(table.position < before)
    else:
        query = query.where(table.position <= _position(connection, conversation_id, parent_id))
    rows = connection.execute(query.order_by(table.position.desc()).limit(_PART))
    return [Link(*row) for row in rows]


def _position(connection: sa.Connection, conversation_id: UUID, message_id: UUID) -> int:
    """Of a message of the conversation; 0 where there is none."""
    table = MESSAGES.c
    query = sa.select(table.position).where(table.message_id == message_id, table.conversation_id == conversation_id)
    position: int | None = connection.execute(query).scalar()
    return position or 0


def _parent(connection: sa.Connection, conversation_id: UUID, parent_id: UUID | None, before: int) -> UUID | None:
    """The message that one at that position goes on from."""
    if parent_id != NIL_UUID:
        return parent_id
    ancestor = next(branch(NIL_UUID, before, partial(_older, connection, conversation_id), 1), None)
    return ancestor.message_id if ancestor else None
