"""The people that apps know."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import END_USERS, ERASURES
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import EndUserContent
from chatledger.application.ports.views import EndUserDetail, EndUserView
from chatledger.domain.values import EndUserKind


class SqlPeopleViews(SqlReading):
    """End users."""

    async def end_user(self, app_id: UUID, kind: EndUserKind, lookup: str) -> EndUserView | None:
        """The person with this keyed hash of an external id."""
        table = END_USERS.c
        query = sa.select(table.end_user_id, table.key_id).where(
            table.app_id == app_id, table.kind == kind, table.lookup == lookup
        )
        row = await self._reader.query(lambda c: c.execute(query).first())
        return None if row is None else EndUserView(row.end_user_id, row.key_id)

    async def end_user_detail(self, end_user_id: UUID) -> EndUserDetail | None:
        """A person by their own id."""
        query = sa.select(END_USERS).where(END_USERS.c.end_user_id == end_user_id)

        def read(connection: sa.Connection) -> EndUserDetail | None:
            row = connection.execute(query).first()
            return None if row is None else self._end_user(row)

        return await self._reader.query(read)

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
