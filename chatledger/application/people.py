"""Finding the person whom a caller speaks for, or meeting them with this very request."""

from uuid import UUID

import msgspec

from chatledger.application.caller import Caller, EndUsers
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.keys import NewKey
from chatledger.application.ports.storage import UniqueGuard
from chatledger.application.ports.views import EndUserView
from chatledger.domain.end_user import SHARED_EXTERNAL_ID, EndUser


class Person(msgspec.Struct, frozen=True):
    """Somebody who is known already; or met just now, and then part of the same hand-in."""

    end_user_id: UUID
    key_id: UUID
    staged: tuple[Staged[EndUser], ...] = ()
    new_keys: tuple[NewKey, ...] = ()
    guards: tuple[UniqueGuard, ...] = ()
    version: int | None = None

    @property
    def expected(self) -> dict[UUID, int]:
        """What must hold for nothing to be added to somebody who is to be erased."""
        return {} if self.version is None else {self.end_user_id: self.version}

    @classmethod
    def known(cls, view: EndUserView) -> "Person":
        """Somebody whom the app has seen."""
        return cls(view.end_user_id, view.key_id, version=view.version)


class People:
    """Everybody whom an app's callers speak for."""

    def __init__(self, ledger: Ledger, end_users: EndUsers, new_id: IdFactory) -> None:
        self._ledger = ledger
        self._end_users = end_users
        self._new_id = new_id

    async def find(self, caller: Caller) -> EndUserView | None:
        """The caller's person, if known already; where it names nobody, the one whom all such callers share."""
        return await self._end_users.find(caller.app.app_id, caller.kind, caller.user or SHARED_EXTERNAL_ID)

    async def known(self, end_user_id: UUID) -> Person:
        """The person of this id of ours.

        Raises:
            KeyDestroyedError: they are erased, or about to be.
        """
        return Person.known(await self._end_users.known(end_user_id))

    async def meet(self, caller: Caller) -> Person:
        """The caller's person, known or new."""
        known = await self.find(caller)
        if known is not None:
            return Person.known(known)
        external_id, app_id = caller.user or SHARED_EXTERNAL_ID, caller.app.app_id
        lookup = self._end_users.lookup(app_id, caller.kind, external_id)
        key = self._ledger.keyring.new_key(None)
        seen = EndUser.see(self._new_id(), app_id=app_id, kind=caller.kind, external_id=external_id, lookup=lookup)
        return Person(
            seen.id,
            key.key_id,
            (Staged(seen, key.key_id),),
            (key,),
            (UniqueGuard("end_user", (app_id, caller.kind, lookup)),),
        )
