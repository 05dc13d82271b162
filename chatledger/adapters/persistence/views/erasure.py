"""Who is erased or held, and what there is to erase."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import (
    APPS,
    CONVERSATIONS,
    END_USERS,
    ERASED_KEYS,
    ERASURES,
    FILE_REFERENCES,
    FILES,
    LEGAL_HOLDS,
    MESSAGES,
)
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import HoldContent
from chatledger.application.ports.erasure import Belongings, Erasure, Hold, Resting, Retention, Unrecorded
from chatledger.application.ports.views import Page

_HOLDS = sa.select(LEGAL_HOLDS, END_USERS.c.app_id).select_from(
    LEGAL_HOLDS.join(END_USERS, END_USERS.c.end_user_id == LEGAL_HOLDS.c.end_user_id)
)


class SqlErasureViews(SqlReading):
    """What the processes of erasing read."""

    async def erasure(self, end_user_id: UUID) -> Erasure | None:
        """That of one person; None where nobody has asked for it."""
        query = sa.select(ERASURES).where(ERASURES.c.end_user_id == end_user_id)
        row = await self._reader.query(lambda c: c.execute(query).first())
        return None if row is None else _erasure(row)

    async def erasures(self, app_id: UUID | None, page: Page) -> tuple[Sequence[Erasure], bool] | None:
        """A page of all, or of an app's, the last requested first, and whether more follow."""
        table = ERASURES.c
        query = sa.select(ERASURES)
        if app_id is not None:
            query = query.where(table.app_id == app_id)
        cursor = sa.select(table.requested_position).where(table.end_user_id == page.beyond)

        def read(connection: sa.Connection) -> tuple[Sequence[Erasure], bool] | None:
            rows = _page(connection, query, table.requested_position, page, cursor)
            return None if rows is None else ([_erasure(row) for row in rows[: page.limit]], len(rows) > page.limit)

        return await self._reader.query(read)

    async def unfinished_erasures(self, after: int, limit: int) -> list[Erasure]:
        """Those that were requested after a position and are not done, oldest first."""
        table = ERASURES.c
        query = (
            sa.select(ERASURES)
            .where(table.erased_position.is_(None), table.requested_position > after)
            .order_by(table.requested_position)
            .limit(limit)
        )
        return await self._reader.query(lambda c: [_erasure(row) for row in c.execute(query)])

    async def belongings(self, end_user_id: UUID) -> Belongings:
        """How much is a person's."""
        messages, files = MESSAGES.c, FILES.c
        said = sa.select(sa.func.count(sa.distinct(messages.conversation_id)), sa.func.count()).where(
            messages.end_user_id == end_user_id
        )
        stored = sa.select(sa.func.count()).where(files.end_user_id == end_user_id)

        def read(connection: sa.Connection) -> Belongings:
            return Belongings(*connection.execute(said).one(), connection.execute(stored).scalar_one())

        return await self._reader.query(read)

    async def unerased(self, end_user_id: UUID) -> int:
        """How many conversations and files of a person are not on record as erased."""
        counts = [sa.select(sa.func.count()).select_from(query.subquery()) for query in _unerased(end_user_id)]
        return await self._reader.query(lambda c: sum(c.execute(query).scalar_one() for query in counts))

    async def unended_messages(self, end_user_id: UUID, limit: int) -> list[UUID]:
        """Messages of a person that are being answered, or are to be, oldest first."""
        table = MESSAGES.c
        query = (
            sa.select(table.message_id)
            .where(table.end_user_id == end_user_id, table.ended_position.is_(None))
            .order_by(table.position)
            .limit(limit)
        )
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def unerased_conversations(self, end_user_id: UUID, limit: int) -> list[UUID]:
        """Conversations of a person that are not on record as erased: deleted ones and completions too."""
        query = _unerased(end_user_id)[0].limit(limit)
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def unerased_files(self, end_user_id: UUID, limit: int) -> list[UUID]:
        """Files of a person that are not on record as erased."""
        query = _unerased(end_user_id)[1].limit(limit)
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def hold(self, hold_id: UUID) -> Hold | None:
        """One legal hold that was not released."""
        query = _HOLDS.where(LEGAL_HOLDS.c.hold_id == hold_id)

        def read(connection: sa.Connection) -> Hold | None:
            row = connection.execute(query).first()
            return None if row is None else self._hold(row)

        return await self._reader.query(read)

    async def holds(self, app_id: UUID | None, page: Page) -> tuple[Sequence[Hold], bool] | None:
        """A page of all, or of those of an app's people, the last placed first, and whether more follow."""
        table = LEGAL_HOLDS.c
        query = _HOLDS if app_id is None else _HOLDS.where(END_USERS.c.app_id == app_id)
        cursor = sa.select(table.position).where(table.hold_id == page.beyond)

        def read(connection: sa.Connection) -> tuple[Sequence[Hold], bool] | None:
            rows = _page(connection, query, table.position, page, cursor)
            return None if rows is None else ([self._hold(row) for row in rows[: page.limit]], len(rows) > page.limit)

        return await self._reader.query(read)

    def _hold(self, row: Any) -> Hold:
        content = self._seals.open(row.key_id, HoldContent, row.content, row.hold_id)
        return Hold(
            hold_id=row.hold_id,
            end_user_id=row.end_user_id,
            app_id=row.app_id,
            reason=content.reason,
            placed_at=row.created_at,
        )

    async def retentions(self) -> list[Retention]:
        """Those of all apps that do not keep everything."""
        table = APPS.c
        query = sa.select(table.app_id, table.retention_days).where(table.retention_days.is_not(None))
        return await self._reader.query(lambda c: [Retention(*row) for row in c.execute(query)])

    async def resting_conversations(
        self, app_id: UUID, before: int, beyond: Resting | None, limit: int
    ) -> list[Resting]:
        """Conversations of an app that nothing has happened in since a time, and nothing goes on in."""
        table = CONVERSATIONS.c
        goes_on = sa.exists().where(
            MESSAGES.c.conversation_id == table.conversation_id, MESSAGES.c.ended_position.is_(None)
        )
        query = (
            sa.select(table.conversation_id, table.key_id, table.updated_at)
            .where(table.app_id == app_id, table.updated_at < before, sa.not_(table.is_erased))
            .where(sa.not_(goes_on), sa.not_(_held(table.end_user_id)))
            .where(_follows(beyond, table.updated_at, table.conversation_id))
            .order_by(table.updated_at, table.conversation_id)
            .limit(limit)
        )
        return await self._reader.query(lambda c: [Resting(*row) for row in c.execute(query)])

    async def resting_files(self, app_id: UUID, before: int, beyond: Resting | None, limit: int) -> list[Resting]:
        """Files of an app from before a time that no conversation shows, oldest first."""
        table = FILES.c
        shown = sa.exists().where(FILE_REFERENCES.c.file_id == table.file_id)
        query = (
            sa.select(table.file_id, table.key_id, table.created_at)
            .where(table.app_id == app_id, table.created_at < before, sa.not_(table.is_erased))
            .where(sa.not_(shown), sa.not_(_held(table.end_user_id)))
            .where(_follows(beyond, table.created_at, table.file_id))
            .order_by(table.created_at, table.file_id)
            .limit(limit)
        )
        return await self._reader.query(lambda c: [Resting(*row) for row in c.execute(query)])

    async def messages_of(self, conversation_id: UUID, after: int, limit: int) -> list[tuple[int, UUID]]:
        """Where the messages of a conversation after a position stand, in order, and which they are."""
        table = MESSAGES.c
        query = (
            sa.select(table.position, table.message_id)
            .where(table.conversation_id == conversation_id, table.position > after)
            .order_by(table.position)
            .limit(limit)
        )
        return await self._reader.query(lambda c: [(position, id_) for position, id_ in c.execute(query)])

    async def unrecorded(self, key_ids: Collection[UUID]) -> tuple[list[Unrecorded], list[Unrecorded]]:
        """The conversations, and the files, of destroyed keys that are not on record as erased."""
        recorded = sa.select(ERASED_KEYS.c.key_id).where(ERASED_KEYS.c.key_id.in_(key_ids))

        def read(connection: sa.Connection) -> tuple[list[Unrecorded], list[Unrecorded]]:
            left = set(key_ids).difference(connection.execute(recorded).scalars())
            if not left:  # as nearly always: no index leads from a key to what it seals
                return [], []
            conversations, files = CONVERSATIONS.c, FILES.c
            talked = sa.select(conversations.conversation_id, conversations.app_id).where(
                conversations.key_id.in_(left), sa.not_(conversations.is_erased)
            )
            stored = sa.select(files.file_id, files.app_id).where(files.key_id.in_(left), sa.not_(files.is_erased))
            return (
                [Unrecorded(*row) for row in connection.execute(talked)],
                [Unrecorded(*row) for row in connection.execute(stored)],
            )

        return await self._reader.query(read)


def _unerased(end_user_id: UUID) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """The conversations, and the files, of a person."""
    messages, conversations, files = MESSAGES.c, CONVERSATIONS.c, FILES.c
    theirs = sa.select(messages.conversation_id).where(messages.end_user_id == end_user_id)
    return (
        sa.select(conversations.conversation_id).where(
            conversations.conversation_id.in_(theirs), sa.not_(conversations.is_erased)
        ),
        sa.select(files.file_id).where(files.end_user_id == end_user_id, sa.not_(files.is_erased)),
    )


def _follows(last: Resting | None, since: sa.ColumnElement[int], id_: sa.ColumnElement[UUID]) -> sa.ColumnElement[bool]:
    """Whether a row is behind the last one that was seen, by time and then by id."""
    if last is None:
        return sa.true()
    return sa.and_(since >= last.since, sa.or_(since > last.since, id_ > last.id))


def _held(end_user_id: sa.ColumnElement[UUID]) -> sa.Exists:
    return sa.exists().where(LEGAL_HOLDS.c.end_user_id == end_user_id)


def _page(
    connection: sa.Connection, query: sa.Select[Any], place: sa.Column[Any], page: Page, cursor: sa.Select[Any]
) -> Sequence[Any] | None:
    """Up to one row more than the page has, from behind the cursor's place on; None where that names none."""
    if page.beyond is not None:
        last = connection.execute(cursor).scalar()
        if last is None:
            return None
        query = query.where(place < last)
    return connection.execute(query.order_by(place.desc()).limit(page.limit + 1)).all()


def _erasure(row: Any) -> Erasure:
    return Erasure(
        end_user_id=row.end_user_id,
        app_id=row.app_id,
        key_id=row.key_id,
        requested_at=row.requested_at,
        requested_position=row.requested_position,
        erased_position=row.erased_position,
    )
