"""People: what becomes of what they wrote."""

from uuid import UUID

from chatledger.application.accepting import DEFAULT_PAGE, accept_id, accept_user
from chatledger.application.application import Application
from chatledger.application.errors import InvalidParameterError
from chatledger.application.ports.erasure import Erasure, Hold
from chatledger.application.ports.views import Page
from chatledger.embedding.access import Access
from chatledger.embedding.values import Slice, User, Visitor

SECONDS_TO_ERASE = 60.0


class People:
    """``ledger.people``. It is the host itself that erases, and holds."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def erase(self, app: UUID, user: User, *, seconds: float = SECONDS_TO_ERASE) -> Erasure:
        """Erase a person for good: whoever comes with their name from now on is a new one.

        What is being answered to them is stopped, their keys are destroyed, and all that was theirs is put on record as
        erased. It is done once the answer has an ``erased_position``; where the time is over before that, or the
        process ends, it goes on in the background, and with the next opening.

        Args:
            app: where.
            user: whom.
            seconds: how long to wait for the end.

        Raises:
            NotFoundError: there is no such app, or it has no such person.
            HeldError: a legal hold is in the way.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            person = await _person(application, app, user)
            await application.erasing.request(person, self._access.host())
            return await application.erasing.until_done(person, seconds)

    async def erasure(self, end_user: UUID) -> Erasure:
        """How far the erasing of a person has come.

        Raises:
            NotFoundError: nobody has asked for it.
        """
        with self._access.use() as application:
            return await application.erasing.erasure(accept_id("end_user", end_user))

    async def erasures(
        self, *, app: UUID | None = None, limit: int = DEFAULT_PAGE, last_id: UUID | None = None
    ) -> Slice[Erasure]:
        """A page of the erasures that were asked for, the last first.

        Args:
            app: those of this app.
            limit: how many at most.
            last_id: the person of the last erasure of the page before.

        Raises:
            InvalidParameterError: a page is not that long.
            NotFoundError: ``last_id`` is none of them.
        """
        with self._access.use() as application:
            page = Page(limit, None if last_id is None else accept_id("last_id", last_id))
            found, has_more = await application.erasing.page(None if app is None else accept_id("app", app), page)
            return Slice(tuple(found), has_more)

    async def receipt(self, end_user: UUID) -> bytes:
        """A file that proves to anybody that a person was erased; `chatledger verify` checks it.

        Raises:
            NotFoundError: nobody has asked for it, or it is not done yet.
            LedgerInconsistentError: the ledger is not what was signed.
            StorageUnavailableError: no checkpoint that covers it can be signed for now.
        """
        with self._access.use() as application:
            return bytes(await application.receipts.of_erasure(self._access.auditor(), accept_id("end_user", end_user)))

    async def hold(self, app: UUID, user: User, reason: str) -> Hold:
        """Let nothing of a person's be erased, neither on request nor by age, until it is released.

        Raises:
            NotFoundError: there is no such app, or it has no such person.
            InvalidParameterError: there is no reason, or it is too long.
            KeyDestroyedError: they are erased, or about to be.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            person = await _person(application, app, user)
            return await application.holds.place(person, reason, self._access.host())

    async def release(self, hold_id: UUID) -> None:
        """End a legal hold.

        Raises:
            NotFoundError: there is none, or none any more.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            await application.holds.release(accept_id("hold_id", hold_id), self._access.host())

    async def holds(
        self, *, app: UUID | None = None, limit: int = DEFAULT_PAGE, last_id: UUID | None = None
    ) -> Slice[Hold]:
        """A page of the legal holds that were not released, the last placed first.

        Raises:
            InvalidParameterError: a page is not that long.
            NotFoundError: ``last_id`` is none of them.
        """
        with self._access.use() as application:
            page = Page(limit, None if last_id is None else accept_id("last_id", last_id))
            app_id = None if app is None else accept_id("app", app)
            found, has_more = await application.holds.page(self._access.auditor(), app_id, page)
            return Slice(tuple(found), has_more)


async def _person(application: Application, app: UUID, user: User) -> UUID:
    """Whom a name stands for, whether or not the app answers anybody."""
    app_id = (await application.directory.app(accept_id("app", app))).app_id
    if isinstance(user, Visitor):
        return await application.end_users.named(app_id, "browser", str(accept_id("user", user.end_user_id)))
    name = accept_user(user)
    if name is None:
        raise InvalidParameterError("user", "user must not be empty")
    return await application.end_users.named(app_id, "service-api", name)
