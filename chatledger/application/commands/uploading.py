"""Uploading a file, to send it with a message."""

from collections.abc import AsyncIterable
from uuid import UUID

import msgspec

from chatledger.application.caller import Caller
from chatledger.application.files.limits import FileLimits
from chatledger.application.files.storing import StoredBytes, StoringFiles
from chatledger.application.ledger.hand_ins import NotUniqueError, VersionConflictError
from chatledger.application.ledger.ledger import MAX_TRIES, Ledger
from chatledger.application.people import People
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.views import AppView
from chatledger.domain.values import FileKind


class UploadedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is on record. ``created_at`` is microseconds since the epoch."""

    file_id: UUID
    app_id: UUID
    end_user_id: UUID
    kind: FileKind
    name: str
    mime_type: str
    size: int
    created_at: int


class Uploading:
    """The use case of the upload route. A form may name its user after its file: so it has two halves."""

    def __init__(self, ledger: Ledger, people: People, files: StoringFiles) -> None:
        self._ledger = ledger
        self._people = people
        self._files = files

    def limits(self, app: AppView) -> FileLimits:
        """What a file may be that is sent to an app."""
        return self._files.limits.narrowed_by(app.configuration.file_upload)

    async def upload(self, caller: Caller, name: str, content: AsyncIterable[bytes]) -> UploadedFile:
        """Store a file and put it on record.

        Raises:
            InvalidParameterError: a file must not have the name.
            FileTooLargeError: it has more bytes than its kind may have; nothing is stored.
            KeyDestroyedError: the key store has not got the person's key; nothing is stored.
            StorageUnavailableError: the store is in trouble; nothing is stored.
        """
        return await self.keep(caller, name, await self.receive(caller.app, name, content))

    async def receive(self, app: AppView, name: str, content: AsyncIterable[bytes]) -> StoredBytes:
        """The first half: the bytes. What is received is to be kept or discarded.

        Raises:
            InvalidParameterError: a file must not have the name.
            FileTooLargeError: it has more bytes than its kind may have; nothing is stored.
            StorageUnavailableError: the store is in trouble; nothing is stored.
        """
        limits = self.limits(app)
        limits.accept_name(name)
        return await self._files.store(content, limits)

    async def discard(self, stored: StoredBytes) -> None:
        """Drop what was received."""
        await self._files.discard(stored)

    async def keep(self, caller: Caller, name: str, stored: StoredBytes) -> UploadedFile:
        """The second half: whose it is, on record; or it is discarded.

        Raises:
            KeyDestroyedError: the key store has not got the person's key; nothing is stored.
            StorageUnavailableError: the store is in trouble; nothing is stored.
        """
        return await self._files.settle(stored, self._keep(caller, self.limits(caller.app).accept_name(name), stored))

    async def _keep(self, caller: Caller, name: str, stored: StoredBytes) -> UploadedFile:
        gone: KeyDestroyedError | None = None
        for _ in range(MAX_TRIES):
            try:
                return await self._commit(caller, name, stored)
            except NotUniqueError:
                continue
            except KeyDestroyedError as error:
                # Who was to have it may have been erased meanwhile: then it is a new person's.
                gone = error
        raise gone or VersionConflictError(str(stored.file_id))

    async def _commit(self, caller: Caller, name: str, stored: StoredBytes) -> UploadedFile:
        person = await self._people.meet(caller)
        file, key = self._files.stage(
            stored,
            app_id=caller.app.app_id,
            end_user_id=person.end_user_id,
            end_user_key=person.key_id,
            name=name,
            belongs_to="user",
        )
        committed = await self._ledger.hand_in(
            *person.staged,
            file,
            context=caller.context(person.end_user_id),
            guards=person.guards,
            new_keys=(*person.new_keys, key),
        )
        return UploadedFile(
            file_id=stored.file_id,
            app_id=caller.app.app_id,
            end_user_id=person.end_user_id,
            kind=stored.kind,
            name=name,
            mime_type=stored.mime_type,
            size=stored.size,
            created_at=committed[-1].recorded_at,
        )
