"""A file: bytes that a person uploaded, or that a tool made for the assistant."""

from typing import assert_never
from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.events import FileErased, FileEvent, FileUploaded
from chatledger.domain.values import ErasureCause


class File(Aggregate[FileEvent]):
    """It knows whose it is and what it is; the bytes lie apart from the ledger, sealed."""

    uploaded: FileUploaded

    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.is_erased = False

    @classmethod
    def upload(cls, file_id: UUID, uploaded: FileUploaded) -> "File":
        """Put bytes that are stored on record."""
        file = cls(file_id)
        file._record(uploaded)
        return file

    def erase(self, cause: ErasureCause) -> None:
        """Put on record that it is for nobody any more. Doing so again changes nothing."""
        if not self.is_erased:
            self._record(FileErased(cause=cause))

    def apply(self, body: FileEvent) -> None:
        """Fold one event into the state."""
        match body:
            case FileUploaded():
                self.uploaded = body
            case FileErased():
                self.is_erased = True
            case _:
                assert_never(body)
