"""Legal holds: what keeps a person from being erased, on request or by age."""

from collections.abc import Sequence
from uuid import UUID

from chatledger.application.accepting import MAX_PAGE, accept_number, accept_text
from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import Auditor
from chatledger.application.context import Context
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.erasure import ErasureViews, Hold
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.views import Page
from chatledger.domain.end_user import EndUser
from chatledger.domain.errors import ErasedError, NoSuchHoldError

LONGEST_REASON = 1_000


class LegalHolds:
    """The use cases of whoever has to keep what a person wrote."""

    def __init__(self, ledger: Ledger, views: ErasureViews, reads: ContentReads, new_id: IdFactory) -> None:
        self._ledger = ledger
        self._reads = reads
        self._views = views
        self._new_id = new_id

    async def place(self, end_user_id: UUID, reason: str, context: Context) -> Hold:
        """Let nothing of a person's be erased until this hold, and every other one, is released.

        Raises:
            InvalidParameterError: there is no reason, or it is too long.
            NotFoundError: there is no such person.
            KeyDestroyedError: they are erased, or about to be.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        reason = accept_text("reason", reason, LONGEST_REASON)
        if not reason.strip():
            raise InvalidParameterError("reason", "reason is required")
        hold_id = self._new_id()
        try:
            await self._ledger.decide(
                EndUser, end_user_id, lambda staged: staged.aggregate.place_hold(hold_id, reason), context
            )
        except ErasedError as error:
            raise KeyDestroyedError(str(end_user_id)) from error
        except KeyDestroyedError:
            raise
        except LookupError as error:
            raise NotFoundError("end_user") from error
        return await self._hold(hold_id)

    async def release(self, hold_id: UUID, context: Context) -> None:
        """End a hold.

        Raises:
            NotFoundError: there is none, or none any more.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        hold = await self._hold(hold_id)
        try:
            await self._ledger.decide(
                EndUser, hold.end_user_id, lambda staged: staged.aggregate.release_hold(hold_id), context
            )
        except NoSuchHoldError as error:
            raise NotFoundError("hold") from error

    async def page(self, auditor: Auditor, app_id: UUID | None, page: Page) -> tuple[Sequence[Hold], bool]:
        """Some of those that were not released, the last placed first, and whether more follow.

        Why each was placed is shown too, and so that it was read gets on record.

        Raises:
            InvalidParameterError: a page is not that long.
            NotFoundError: what it goes on from is none of them.
        """
        accept_number("limit", page.limit, 1, MAX_PAGE)
        found = await self._views.holds(app_id, page)
        if found is None:
            raise NotFoundError("hold")
        if found[0]:
            await self._reads.note(auditor, "ledger" if app_id is None else "app", app_id)
        return found

    async def _hold(self, hold_id: UUID) -> Hold:
        hold = await self._views.hold(hold_id)
        if hold is None:
            raise NotFoundError("hold")
        return hold
