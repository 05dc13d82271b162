"""The people that apps know."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import END_USERS, ERASURES, EVENTS, STREAMS
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import EndUserContent
from chatledger.application.ports.views import EndUserDetail, EndUserView
from chatledger.domain.values import EndUserKind

_VERSION = (
    sa.select(sa.func.max(EVENTS.c.version))
    .select_from(STREAMS.join(EVENTS, EVENTS.c.stream == STREAMS.c.number))
    .where(STREAMS.c.stream_id == END_USERS.c.end_user_id)
    .correlate(END_USERS)
    .scalar_subquery()
)
# One statement: their row is there as of that very version.
_VIEW = sa.select(END_USERS.c.end_user_id, END_USERS.c.key_id, _VERSION.label("version"))


class SqlPeopleViews(SqlReading):
    """End users."""

    async def end_user(self, app_id: UUID, kind: EndUserKind, lookup: str) -> EndUserView | None:
        """The person with this keyed hash of an external id; the one met last, where they had to be met again."""
        table = END_USERS.c
        found = _VIEW.where(table.app_id == app_id, table.kind == kind, table.lookup == lookup)
        return await self._view(found.order_by(table.created_at.desc(), table.end_user_id.desc()))

    async def end_user_of_id(self, end_user_id: UUID) -> EndUserView | None:
        """The person of this id; None where they are erased, or about to be."""
        return await self._view(_VIEW.where(END_USERS.c.end_user_id == end_user_id))

    async def _view(self, query: sa.Select[Any, Any, Any]) -> EndUserView | None:
        row = await self._reader.query(lambda c: c.execute(query).first())
        return None if row is None else EndUserView(row.end_user_id, row.key_id, row.version)

    async def end_user_detail(self, end_user_id: UUID) -> EndUserDetail | None:
        """A person by their own id."""
        query = sa.select(END_USERS).where(END_USERS.c.end_user_id == end_user_id)

        def read(connection: sa.Connection) -> EndUserDetail | None:
            row = connection.execute(query).first()
            return None if row is None else self._end_user(row)

        return await self._reader.query(read)

    async def is_person_of(self, app_id: UUID, end_user_id: UUID) -> bool:
        """Whether an app has, or had before an erasure, a person of this id."""
        query = sa.union(
            *(
                sa.select(table.c.end_user_id).where(table.c.end_user_id == end_user_id, table.c.app_id == app_id)
                for table in (END_USERS, ERASURES)
            )
        )
        return await self._reader.query(lambda c: c.execute(query).first()) is not None

    async def is_erased_person(self, app_id: UUID, end_user_id: UUID) -> bool:
        """Whether this is one of an app's people who is erased, or about to be."""
        table = ERASURES.c
        query = sa.select(table.end_user_id).where(table.end_user_id == end_user_id, table.app_id == app_id)
        return await self._reader.query(lambda c: c.execute(query).first()) is not None

    def _end_user(self, row: Any) -> EndUserDetail:
        content = self._seals.open(row.key_id, EndUserContent, row.content, row.end_user_id)
        return EndUserDetail(
            end_user_id=row.end_user_id,
            app_id=row.app_id,
            kind=row.kind,
            external_id=content.external_id,
            is_anonymous=row.anonymous,
            created_at=row.created_at,
        )
