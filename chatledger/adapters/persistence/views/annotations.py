"""The annotations of apps."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import ANNOTATIONS, MESSAGES
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import AnnotationContent
from chatledger.application.ports.annotations import AnnotationView


class SqlAnnotationViews(SqlReading):
    """Counts what an annotation has answered when it is asked: no row is written for each answer."""

    async def annotation(self, app_id: UUID, annotation_id: UUID) -> AnnotationView | None:
        """One of an app's."""
        found = await self._read(app_id, ANNOTATIONS.c.annotation_id == annotation_id)
        return found[0] if found else None

    async def annotations(self, app_id: UUID) -> list[AnnotationView]:
        """All that an app has, newest first."""
        return await self._read(app_id, sa.true())

    async def _read(self, app_id: UUID, condition: sa.ColumnElement[bool]) -> list[AnnotationView]:
        query = sa.select(ANNOTATIONS).where(ANNOTATIONS.c.app_id == app_id, condition)
        query = query.order_by(ANNOTATIONS.c.position.desc())
        hits = (
            sa.select(MESSAGES.c.annotation_id, sa.func.count().label("hits"))
            .where(MESSAGES.c.app_id == app_id, MESSAGES.c.annotation_id.is_not(None))
            .group_by(MESSAGES.c.annotation_id)
        )

        def read(connection: sa.Connection) -> list[AnnotationView]:
            counts = {row.annotation_id: row.hits for row in connection.execute(hits)}
            return [self._annotation(row, counts.get(row.annotation_id, 0)) for row in connection.execute(query)]

        return await self._reader.query(read)

    def _annotation(self, row: Any, hit_count: int) -> AnnotationView:
        content = self._seals.open(row.key_id, AnnotationContent, row.content, row.annotation_id)
        return AnnotationView(
            annotation_id=row.annotation_id,
            question=content.question,
            answer=content.answer,
            hit_count=hit_count,
            created_at=row.created_at,
        )
