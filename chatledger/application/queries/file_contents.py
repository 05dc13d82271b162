"""The bytes of files, for whoever may have them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from uuid import UUID

from chatledger.application.errors import NotFoundError
from chatledger.application.files.sealing import open_content
from chatledger.application.ports.files import BlobMissingError, BlobStore, BlobsUnavailableError
from chatledger.application.ports.generator import GeneratorError, SentFile
from chatledger.application.ports.keys import KeyDestroyedError, Keyring, SealBrokenError
from chatledger.application.ports.views import FileView, Views
from chatledger.domain.events import MessageCreated


class FileContents:
    """Opens what is stored. Who may have it is decided before."""

    def __init__(self, views: Views, keyring: Keyring, blobs: BlobStore) -> None:
        self._views = views
        self._keyring = keyring
        self._blobs = blobs

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
