"""What the events of files change."""

from collections.abc import Iterable, Sequence
from typing import assert_never
from uuid import UUID

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.projected.sealing import NOTHING_LEFT, Sealing, key_erased
from chatledger.application.ledger.sealed_rows import FileContent
from chatledger.application.ports.storage import Change, Insert, Update, Upsert
from chatledger.domain.events import FileErased, FileEvent, FileUploaded


class FileChanges:
    """From an event of a file to the changes that it makes."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    def changes(self, envelope: Envelope, body: FileEvent) -> Sequence[Change]:
        """What an event changes."""
        match body:
            case FileUploaded():
                return (self._file_uploaded(envelope, body),)
            case FileErased():
                return _file_erased(envelope)
            case _:
                assert_never(body)

    def _file_uploaded(self, envelope: Envelope, body: FileUploaded) -> Change:
        row = {
            "file_id": envelope.stream_id,
            "app_id": body.app_id,
            "end_user_id": body.end_user_id,
            "key_id": envelope.key_id,
            "kind": body.kind,
            "belongs_to": body.belongs_to,
            "mime_type": body.mime_type,
            "size": body.size,
            "created_at": envelope.recorded_at,
            "is_erased": False,
            "content": self._sealing.seal(envelope, FileContent(body.name), envelope.stream_id),
        }
        return Insert("files", row)


def files_shown(file_ids: Iterable[UUID], conversation_id: UUID) -> Sequence[Change]:
    """A file may be looked at once a conversation shows it, in a message or a variable, and while that is there."""
    rows = [{"file_id": file_id, "conversation_id": conversation_id} for file_id in file_ids]
    return tuple(Upsert("file_references", row, row, {}) for row in rows)


def _file_erased(envelope: Envelope) -> Sequence[Change]:
    values = {"content": NOTHING_LEFT, "is_erased": True}
    return (Update("files", {"file_id": envelope.stream_id}, values), key_erased(envelope))
