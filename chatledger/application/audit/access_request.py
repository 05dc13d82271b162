"""An access request: all that one person has, has said and was answered, in one readable document.

What Articles 15 and 20 of the General Data Protection Regulation (EU 2016/679) let a person ask for, as far as this
ledger has it.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from uuid import UUID

import msgspec

from chatledger.application.audit.access_document import (
    AccessedConversation,
    AccessedFile,
    AccessedPerson,
    conversation_of,
    file_of,
    message_of,
    person_of,
)
from chatledger.application.caller import Reader
from chatledger.application.errors import NotFoundError
from chatledger.application.files.sealing import open_content
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.belongings import BelongingsViews
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.files import BlobMissingError, BlobStore
from chatledger.application.ports.keys import KeyDestroyedError, Keyring
from chatledger.domain.events import EndUserSeen, FileUploaded
from chatledger.domain.values import ReadSubject

PAGE = 100

FORMAT = "chatledger access request 1"

ReadStream = Callable[[UUID], Awaitable[Sequence[Envelope]]]
"""The events of a stream; raises KeyDestroyedError where they are erased."""

NoteRead = Callable[[Reader, ReadSubject, UUID], Awaitable[None]]
"""Puts on record that somebody is about to read."""

_Pages = Callable[[UUID, UUID | None, int], Awaitable[Sequence[UUID]]]

_encode = msgspec.json.Encoder().encode


class DocumentHead(msgspec.Struct, frozen=True, kw_only=True):
    """What the document begins with."""

    format: str
    made_at: datetime
    person: AccessedPerson


class AccessRequests:
    """Makes the documents, in pieces, from the ledger itself: in memory is one message at a time.

    Left out is what is not the person's to see: legal holds, which may be about an investigation, and which operators
    have read what.

    Args:
        note_read: None for whoever reads beside a server and cannot write.
    """

    def __init__(
        self,
        views: BelongingsViews,
        read: ReadStream,
        keyring: Keyring,
        blobs: BlobStore,
        clock: Clock,
        note_read: NoteRead | None,
    ) -> None:
        self._views = views
        self._read = read
        self._keyring = keyring
        self._blobs = blobs
        self._clock = clock
        self._note_read = note_read

    async def document(self, reader: Reader, end_user_id: UUID) -> AsyncGenerator[bytes, None]:
        """The JSON of one person, in pieces. Whoever reads closes it.

        What is said while it is made may be in it or not. A conversation or a file that is erased while it is read ends
        there, with ``is_whole`` false. That somebody read it is on record before the first piece.

        Raises:
            NotFoundError: before the first piece: there is no such person.
            KeyDestroyedError: before the first piece: the person is erased, or about to be.
            SealBrokenError: while iterating: the bytes of a file are not what was uploaded.
            StorageUnavailableError: while iterating.
        """
        events = await self._read(end_user_id)
        if not events or not isinstance(events[0].body, EndUserSeen):
            raise NotFoundError("end_user")
        person = person_of(events)
        if self._note_read is not None:
            await self._note_read(reader, "end_user", end_user_id)
        head = DocumentHead(format=FORMAT, made_at=self._clock.now(), person=person)
        yield _opened(head, "conversations")
        separator = b"\n"
        async for conversation_id in _all(self._views.conversations_of, end_user_id):
            yield separator
            async with aclosing(self._conversation(conversation_id)) as pieces:
                async for piece in pieces:
                    yield piece
            separator = b",\n"
        yield b'],"files":['
        separator = b"\n"
        async for file_id in _all(self._views.files_of, end_user_id):
            yield separator
            async with aclosing(self._file(file_id)) as pieces:
                async for piece in pieces:
                    yield piece
            separator = b",\n"
        yield b"]}\n"

    async def _conversation(self, conversation_id: UUID) -> AsyncGenerator[bytes, None]:
        try:
            conversation = conversation_of(await self._read(conversation_id))
        except KeyDestroyedError:
            yield _opened(AccessedConversation(id=conversation_id, status="erased"), "messages") + b"]}"
            return
        yield _opened(conversation, "messages")
        separator = b"\n"
        async for message_id in _all(self._views.messages_in, conversation_id):
            try:
                events = await self._read(message_id)
            except KeyDestroyedError:
                yield b'],"is_whole":false}'
                return
            yield separator + _encode(message_of(events))
            separator = b",\n"
        yield b"]}"

    async def _file(self, file_id: UUID) -> AsyncGenerator[bytes, None]:
        first = key = None
        with suppress(KeyDestroyedError):
            first, *_ = await self._read(file_id)
            if first.key_id is not None:
                key = self._keyring.cached(first.key_id) or await asyncio.to_thread(self._keyring.key, first.key_id)
        if first is None or key is None or not isinstance(first.body, FileUploaded):
            yield _encode(AccessedFile(id=file_id, status="erased"))[:-1] + b',"content":null}'
            return
        yield _encode(file_of(first, first.body))[:-1] + b',"content":'
        content = open_content(key, self._blobs, file_id, first.body.size)
        opening = b'"'
        try:
            async with aclosing(content):
                async for piece in _base64(content):
                    yield opening + piece
                    opening = b""
        except (BlobMissingError, KeyDestroyedError):
            yield b"null}" if opening else b'","is_whole":false}'
        else:
            yield opening + b'"}'


def _opened(head: msgspec.Struct, name: str) -> bytes:
    """A JSON object, up to the beginning of a further array of this name."""
    return _encode(head)[:-1] + f',"{name}":['.encode()


async def _all(page_of: _Pages, owner_id: UUID) -> AsyncIterator[UUID]:
    last: UUID | None = None
    while page := await page_of(owner_id, last, PAGE):
        for found in page:
            yield found
        last = page[-1]


async def _base64(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    held = b""
    async for piece in pieces:
        held += piece
        whole = len(held) - len(held) % 3
        yield b64encode(held[:whole])
        held = held[whole:]
    yield b64encode(held)
