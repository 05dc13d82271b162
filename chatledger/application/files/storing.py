"""Bytes into the store under a key of their own, and onto the ledger as a file."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable
from contextlib import aclosing, suppress
from typing import TypeVar
from uuid import UUID

import msgspec

from chatledger.application.context import Context
from chatledger.application.errors import FileTooLargeError
from chatledger.application.files.content_type import ARCHIVE, HEAD_BYTES, kind_of, mime_type_of
from chatledger.application.files.limits import FileLimits
from chatledger.application.files.sealing import seal_content
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.files import BlobStore
from chatledger.application.ports.keys import NewKey
from chatledger.application.ports.storage import CommitInDoubtError, StorageUnavailableError
from chatledger.domain.end_user import EndUser
from chatledger.domain.events import FileUploaded
from chatledger.domain.file import File
from chatledger.domain.message import Message
from chatledger.domain.values import AttachedFile, BelongsTo, FileKind

T = TypeVar("T")


class StoredBytes(msgspec.Struct, kw_only=True):
    """Bytes that are stored and on no record yet: whose they are is not known, and their key is in memory alone.

    Attributes:
        is_staged: whether they may have been handed in; then the ledger alone knows if they are on record.
    """

    file_id: UUID
    key: NewKey
    kind: FileKind
    mime_type: str
    size: int
    is_staged: bool = False


class StoringFiles:
    """First the bytes, then the fact: what never gets on record cannot be read, as its key reaches no disk."""

    def __init__(self, ledger: Ledger, blobs: BlobStore, limits: FileLimits, new_id: IdFactory) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._new_id = new_id
        self.limits = limits

    async def store(self, content: AsyncIterable[bytes], limits: FileLimits) -> StoredBytes:
        """Store bytes as they come, within the bound of what they turn out to be.

        Raises:
            FileTooLargeError: there are more of them than their kind may have; nothing is stored.
            StorageUnavailableError: the store is in trouble; nothing is stored.
        """
        keyring = self._ledger.keyring
        file_id, key = self._new_id(), keyring.new_key(None)
        measured = _Measured(content, limits)
        data_key = keyring.cached(key.key_id) or await asyncio.to_thread(keyring.key, key.key_id)
        sealed = seal_content(data_key, file_id, measured)
        async with aclosing(sealed):
            await self._blobs.write(file_id, sealed)
        return StoredBytes(
            file_id=file_id, key=key, kind=measured.kind, mime_type=measured.mime_type, size=measured.size
        )

    async def discard(self, stored: StoredBytes) -> None:
        """Remove what does not get on record. What cannot be removed now stays, unreadable."""
        with suppress(StorageUnavailableError):
            await self._blobs.delete(stored.file_id)

    async def settle(self, stored: StoredBytes, commit: Awaitable[T]) -> T:
        """Await the commit that puts bytes on record. Where it failed, and not where that is in doubt, they go."""
        try:
            return await commit
        except CommitInDoubtError:
            raise
        except asyncio.CancelledError:
            if not stored.is_staged:
                await asyncio.shield(self.discard(stored))
            raise
        except Exception:
            await self.discard(stored)
            raise

    def stage(
        self,
        stored: StoredBytes,
        *,
        app_id: UUID,
        end_user_id: UUID,
        end_user_key: UUID,
        name: str,
        belongs_to: BelongsTo,
    ) -> tuple[Staged[File], NewKey]:
        """The file to hand in, and its key, which the person's wraps from now on."""
        stored.is_staged = True
        uploaded = FileUploaded(
            app_id=app_id,
            end_user_id=end_user_id,
            kind=stored.kind,
            belongs_to=belongs_to,
            size=stored.size,
            mime_type=stored.mime_type,
            name=name,
        )
        file = Staged(File.upload(stored.file_id, uploaded), stored.key.key_id)
        return file, msgspec.structs.replace(stored.key, parent=end_user_key)

    async def store_made_file(
        self, message: Message, name: str, content: bytes | AsyncIterable[bytes], context: Context
    ) -> AttachedFile:
        """Store what a tool made for an answer and put it on record; :meth:`Message.attach_file` takes the result.

        Raises:
            InvalidParameterError: a file must not have the name.
            FileTooLargeError: it has more bytes than its kind may have.
            StorageUnavailableError: the store is in trouble; nothing is stored.
            LookupError: the person whom the answer is for does not exist.
        """
        name = self.limits.accept_name(name)
        created = message.created
        person = await self._ledger.load(EndUser, created.end_user_id)
        if person is None or person.key_id is None:
            raise LookupError(str(created.end_user_id))
        stored = await self.store(_whole(content) if isinstance(content, bytes) else content, self.limits)
        file, key = self.stage(
            stored,
            app_id=created.app_id,
            end_user_id=created.end_user_id,
            end_user_key=person.key_id,
            name=name,
            belongs_to="assistant",
        )
        await self.settle(stored, self._ledger.hand_in(file, context=context, new_keys=(key,)))
        return AttachedFile(
            file_id=self._new_id(),
            kind=stored.kind,
            transfer_method="tool_file",
            belongs_to="assistant",
            name=name,
            mime_type=stored.mime_type,
            size=stored.size,
            upload_file_id=stored.file_id,
        )


class _Measured:
    """Content on its way: what it is shows in its first bytes, and with that how much of it there may be."""

    def __init__(self, content: AsyncIterable[bytes], limits: FileLimits) -> None:
        self._content = content
        self._limits = limits
        self.mime_type = ""
        self.kind: FileKind = "custom"
        self.size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        head = bytearray()
        pieces = aiter(self._content)
        async for piece in pieces:
            head += piece
            if len(head) >= HEAD_BYTES:
                break
        first, last = bytes(head[:HEAD_BYTES]), bytes(head[-HEAD_BYTES:])
        self._know(mime_type_of(first))
        most = self._limits.bytes_of(self.kind)
        self._count(head, most)
        yield bytes(head)
        async for piece in pieces:
            self._count(piece, most)
            if self.mime_type == ARCHIVE:
                last = (last + piece)[-HEAD_BYTES:]
            yield piece
        if self.mime_type == ARCHIVE:
            self._know(mime_type_of(first + last))

    def _know(self, mime_type: str) -> None:
        self.mime_type, self.kind = mime_type, kind_of(mime_type)

    def _count(self, piece: bytes | bytearray, most: int) -> None:
        self.size += len(piece)
        if self.size > most:
            raise FileTooLargeError(f"a file of kind {self.kind} may have {most} bytes")


async def _whole(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content
