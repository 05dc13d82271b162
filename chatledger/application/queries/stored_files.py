"""Reading files back."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from uuid import UUID

from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import Caller, Ownership, Reader
from chatledger.application.errors import FileAccessDeniedError, NotFoundError
from chatledger.application.files.links import FileLinks
from chatledger.application.files.sealing import open_content
from chatledger.application.ports.files import BlobMissingError, BlobStore, BlobsUnavailableError
from chatledger.application.ports.generator import GeneratorError, SentFile
from chatledger.application.ports.keys import KeyDestroyedError, Keyring, SealBrokenError
from chatledger.application.ports.views import FileView, Views
from chatledger.application.queries.directory import AppDirectory
from chatledger.domain.events import MessageCreated


class StoredFiles:
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
        self._reads = reads
        self._views = views
        self._directory = directory
        self._keyring = keyring
        self._blobs = blobs
        self._ownership = ownership
        self.links = links

    async def shown(self, caller: Caller, file_id: UUID) -> FileView:
        """A file that a message of the caller's app shows, in a conversation that there is.

        A visitor sees what is their own, an app everybody's.

        Raises:
            NotFoundError: there is none, or no message shows it, or it is another visitor's.
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
        """A file, whether or not a message shows it.

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

    async def content(self, file: FileView, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes of a file from ``start`` up to ``stop``. Whoever reads closes it.

        Raises:
            KeyDestroyedError: while iterating: the content has been erased.
            SealBrokenError: while iterating: what is stored is not what was uploaded, or not all of it.
            BlobMissingError: while iterating.
            StorageUnavailableError: while iterating.
        """
        key = self._keyring.cached(file.key_id) or await asyncio.to_thread(self._keyring.key, file.key_id)
        async with aclosing(open_content(key, self._blobs, file.file_id, file.size, start, stop)) as pieces:
            async for piece in pieces:
                yield piece

    def sent(self, created: MessageCreated) -> Sequence[SentFile]:
        """The files of a message for whoever answers it; the bytes are not read before they are asked for."""
        return [
            SentFile(
                kind=file.kind,
                name=file.name,
                mime_type=file.mime_type,
                size=file.size,
                url=file.url,
                detail=file.detail,
                variable=file.variable,
                open=None if file.upload_file_id is None else partial(self._open, file.upload_file_id),
            )
            for file in created.files
        ]

    async def _open(self, file_id: UUID) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self.content(await self._file(file_id))) as pieces:
                async for piece in pieces:
                    yield piece
        except (NotFoundError, BlobMissingError, KeyDestroyedError, SealBrokenError) as error:
            raise GeneratorError("invalid", "A file of the message cannot be read.") from error
        except BlobsUnavailableError as error:
            raise GeneratorError("transient", "A file of the message cannot be read right now.") from error

    async def _file(self, file_id: UUID) -> FileView:
        file = await self._views.file(file_id)
        if file is None:
            raise NotFoundError("file")
        return file


def _require_unerased(file: FileView) -> None:
    if file.is_erased:
        raise KeyDestroyedError(str(file.file_id))
