"""Exports: the ledger as a file that can be checked without it, and all of one person, readable."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from uuid import UUID

from chatledger.application.accepting import accept_id
from chatledger.application.audit.export_file import ExportFile
from chatledger.application.audit.export_lines import ExportBegun, ExportScope
from chatledger.embedding.access import Access
from chatledger.embedding.values import User, Visitor


class Exports:
    """``ledger.exports``."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def write(self, path: Path, *, app: UUID | None = None, user: User | None = None) -> ExportBegun:
        """Write all of the ledger, or what is an app's or a person's, to a new file; what its first line tells.

        What people wrote stays sealed in it. Until it is whole the file has ``.part`` behind its name; the same call
        goes on where an earlier one ended. A cancellation waits for what is being written.

        Raises:
            ExportFileError: the file is there already, or another export has begun there.
            UnexportableError: the ledger has an event that does not fit its leaf, or lacks one.
            NotFoundError: there is no such app or person.
            InvalidParameterError: a user is named, and no app.
            OSError: the file cannot be written.
            StorageUnavailableError: the store is in trouble.
        """
        with self._access.use() as application:
            await self._access.reader(app, user)
            scope = ExportScope(app_id=app)
            if app is not None and user is not None:
                scope = ExportScope(end_user_id=await self._person(app, user))

            is_wanted = threading.Event()
            is_wanted.set()

            def go_on(_done: int, _total: int) -> None:
                if not is_wanted.is_set():
                    raise InterruptedError

            def work() -> ExportBegun:
                with ExportFile(path) as file:
                    export = file.write(application.exporting, scope, go_on)
                    file.finish()
                return export.begun

            writing = asyncio.get_running_loop().run_in_executor(None, work)
            try:
                return await asyncio.shield(writing)
            except asyncio.CancelledError:
                is_wanted.clear()
                with suppress(Exception):
                    await writing
                raise

    async def person(self, app: UUID, user: User) -> AsyncGenerator[bytes, None]:
        """All that a person has, has said and was answered: one JSON document, opened, piece by piece.

        It answers their request to see what is kept of them. That it was read is on record before the first piece.

        Raises:
            NotFoundError: there is no such app or person.
            KeyDestroyedError: the person, named by their own id, is erased.
            StorageUnavailableError: the store is in trouble.
        """
        with self._access.use() as application:
            host = await self._access.reader(None, None)
            document = application.access_requests.document(host, await self._person(app, user))
            async with aclosing(document) as pieces:
                async for piece in pieces:
                    yield piece

    async def _person(self, app: UUID, user: User) -> UUID:
        if isinstance(user, Visitor):
            return accept_id("user", user.end_user_id)
        with self._access.use() as application:
            found = await application.directory.app(accept_id("app", app))
            return await application.end_users.named(found.app_id, "service-api", user)
