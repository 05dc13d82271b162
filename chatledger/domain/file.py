"""A file: bytes that a person uploaded, or that a tool made for the assistant."""

from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.events import FileEvent, FileUploaded


class File(Aggregate[FileEvent]):
    """It knows whose it is and what it is; the bytes lie apart from the ledger, sealed."""

    uploaded: FileUploaded

    @classmethod
    def upload(cls, file_id: UUID, uploaded: FileUploaded) -> "File":
        """Put bytes that are stored on record."""
        file = cls(file_id)
        file._record(uploaded)
        return file

    def apply(self, body: FileEvent) -> None:
        """Fold one event into the state."""
        self.uploaded = body
