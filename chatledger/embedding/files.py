"""Files: what goes with messages."""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from uuid import UUID

from chatledger.application.accepting import accept_id
from chatledger.application.commands.uploading import UploadedFile
from chatledger.application.errors import InvalidParameterError
from chatledger.application.ports.views import FileView
from chatledger.embedding.access import Access
from chatledger.embedding.values import User


class Files:
    """``ledger.files``. What a ``user`` is, :class:`Messages` says."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def upload(
        self, app: UUID, name: str, content: bytes | AsyncIterable[bytes], *, user: User | None = None
    ) -> UploadedFile:
        """Store a file, to be sent with messages of the same user. Its bytes show what it is, and so its limit.

        Args:
            app: where.
            name: what it is called; no path.
            content: its bytes, or pieces of them as they come: no file need be in memory whole.
            user: whose.

        Raises:
            InvalidParameterError: an argument is not acceptable, or no file may have the name.
            FileTooLargeError: it has more bytes than its kind may have; nothing is stored.
            NotFoundError: there is no such app.
            StorageUnavailableError: the store is in trouble; nothing is stored.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user)
            if isinstance(content, AsyncIterable):
                return await application.uploading.upload(caller, name, content)
            if not isinstance(content, bytes):
                raise InvalidParameterError("content", "content must be bytes, or come in pieces of bytes")
            return await application.uploading.upload(caller, name, _whole(content))

    async def get(self, file_id: UUID, *, app: UUID | None = None, user: User | None = None) -> FileView:
        """What is on record of a file: an upload, or what a tool made for an answer.

        Raises:
            NotFoundError: it does not exist, or is not the app's or the user's.
        """
        with self._access.use() as application:
            reader = await self._access.reader(app, user)
            return await application.files.file(reader, accept_id("file_id", file_id))

    async def read(
        self,
        file_id: UUID,
        *,
        app: UUID | None = None,
        user: User | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of a file, piece by piece.

        Raises:
            NotFoundError: it does not exist, or is not the app's or the user's.
            KeyDestroyedError: the content has been erased.
            StorageUnavailableError: the store is in trouble.
        """
        with self._access.use() as application:
            reader = await self._access.reader(app, user)
            file = await application.files.file(reader, accept_id("file_id", file_id))
            async with aclosing(application.files.content(file)) as pieces:
                async for piece in pieces:
                    yield piece


async def _whole(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content
