"""Stored files."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import CONVERSATIONS, FILE_REFERENCES, FILES
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import FileContent
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.views import FileView


class SqlFileViews(SqlReading):
    """Files by their ids."""

    async def file(self, file_id: UUID) -> FileView | None:
        """One stored file."""
        references, conversations = FILE_REFERENCES.c, CONVERSATIONS.c
        was_referenced = sa.exists().where(references.file_id == file_id)
        is_referenced = was_referenced.where(
            references.conversation_id == conversations.conversation_id, sa.not_(conversations.is_deleted)
        )
        query = sa.select(FILES, is_referenced.label("is_referenced"), was_referenced.label("was_referenced")).where(
            FILES.c.file_id == file_id
        )
        return await self._reader.query(lambda c: self._file(c.execute(query).first()))

    def _file(self, row: Any) -> FileView | None:
        if row is None:
            return None
        try:
            name, is_erased = self._seals.open(row.key_id, FileContent, row.content, row.file_id).name, False
        except KeyDestroyedError:
            name, is_erased = "", True
        return FileView(
            file_id=row.file_id,
            app_id=row.app_id,
            end_user_id=row.end_user_id,
            key_id=row.key_id,
            kind=row.kind,
            belongs_to=row.belongs_to,
            name=name,
            mime_type=row.mime_type,
            size=row.size,
            created_at=row.created_at,
            is_referenced=bool(row.is_referenced),
            was_referenced=bool(row.was_referenced),
            is_erased=is_erased,
        )
