"""Reading files back."""

from uuid import UUID

from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import Caller, Ownership, Reader
from chatledger.application.errors import FileAccessDeniedError, NotFoundError
from chatledger.application.files.links import FileLinks
from chatledger.application.ports.files import BlobStore
from chatledger.application.ports.keys import KeyDestroyedError, Keyring
from chatledger.application.ports.views import FileView, Views
from chatledger.application.queries.directory import AppDirectory
from chatledger.application.queries.file_contents import FileContents


class StoredFiles(FileContents):
    """The queries of the routes that give files out."""

    def __init__(
        self,
        views: Views,
        directory: AppDirectory,
        keyring: Keyring,
        blobs: BlobStore,
        links: FileLinks,
        ownership: Ownership,
        reads: ContentReads,
    ) -> None:
        super().__init__(views, keyring, blobs)
        self._reads = reads
        self._directory = directory
        self._ownership = ownership
        self.links = links

    async def shown(self, caller: Caller, file_id: UUID) -> FileView:
        """A file that a conversation of the caller's app shows, in a message or a variable.

        A visitor sees what is their own, an app everybody's.

        Raises:
            NotFoundError: there is none, or no conversation shows it, or it is another visitor's.
            FileAccessDeniedError: it belongs to another app.
            KeyDestroyedError: it has been erased.
        """
        file = await self._file(file_id)
        if file.app_id != caller.app.app_id:
            raise FileAccessDeniedError
        _require_unerased(file)
        if not file.is_referenced:
            raise NotFoundError("file")
        if caller.kind == "browser":
            await self._ownership.require(caller, "file", file.app_id, file.end_user_id)
        return file

    async def file(self, reader: Reader, file_id: UUID) -> FileView:
        """A file, whether or not a conversation shows it.

        Raises:
            NotFoundError: there is none, or it is not the reader's.
            KeyDestroyedError: it has been erased.
        """
        file = await self._file(file_id)
        await self._ownership.require(reader, "file", file.app_id, file.end_user_id)
        _require_unerased(file)
        await self._reads.note(reader, "end_user", file.end_user_id)
        return file

    async def linked(self, file_id: UUID, expires: int, signature: str) -> FileView:
        """The file of a signed link.

        Raises:
            LinkRefusedError: the link was not made here, was changed, or has ended.
            NotFoundError: there is no such file any more, its app is switched off or gone, or so is every
                conversation that showed it.
            KeyDestroyedError: it has been erased.
        """
        self.links.check(file_id, expires, signature)
        file = await self._file(file_id)
        _require_unerased(file)
        app = await self._directory.app(file.app_id)
        is_forgotten = file.was_referenced and not file.is_referenced
        if app.status != "normal" or is_forgotten:
            raise NotFoundError("file")
        return file


def _require_unerased(file: FileView) -> None:
    if file.is_erased:
        raise KeyDestroyedError(str(file.file_id))
