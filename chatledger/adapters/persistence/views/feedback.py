"""Ratings."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import FEEDBACKS
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import FeedbackContent
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.views import FeedbackView, Period


class SqlFeedbackViews(SqlReading):
    """The ratings that an app was given."""

    async def feedbacks(
        self, app_id: UUID, period: Period, limit: int, *, offset: int = 0, beyond: int | None = None
    ) -> list[FeedbackView]:
        """The ratings of an app that were given in a period, newest first; with ``beyond`` those before a position."""
        table = FEEDBACKS.c
        query = sa.select(FEEDBACKS).where(table.app_id == app_id)
        if period.start is not None:
            query = query.where(table.created_at >= period.start)
        if period.end is not None:
            query = query.where(table.created_at < period.end)
        if beyond is not None:
            query = query.where(table.position < beyond)
        query = query.order_by(table.created_at.desc(), table.position.desc()).offset(offset).limit(limit)
        return await self._reader.query(lambda c: [self._feedback(row) for row in c.execute(query)])

    def _feedback(self, row: Any) -> FeedbackView:
        try:
            content = self._seals.open(row.key_id, FeedbackContent, row.content, row.message_id, row.source)
            is_erased = False
        except KeyDestroyedError:
            content, is_erased = FeedbackContent(None), True
        return FeedbackView(
            feedback_id=row.feedback_id,
            app_id=row.app_id,
            conversation_id=row.conversation_id,
            message_id=row.message_id,
            rating=row.rating,
            content=content.content,
            source=row.source,
            end_user_id=row.end_user_id,
            position=row.position,
            created_at=row.created_at,
            updated_at=row.updated_at,
            is_erased=is_erased,
        )
