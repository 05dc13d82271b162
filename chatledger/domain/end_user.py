"""An end user: the person whom the API's customer names with an opaque string."""

from typing import assert_never
from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.errors import ErasedError, LegalHoldError, NoSuchHoldError, NotRequestedError
from chatledger.domain.events import (
    EndUserErased,
    EndUserEvent,
    EndUserKeyRotated,
    EndUserSeen,
    ErasureRequested,
    LegalHoldPlaced,
    LegalHoldReleased,
)
from chatledger.domain.values import EndUserKind

SHARED_EXTERNAL_ID = "DEFAULT-USER"
"""Who acts where the caller names nobody: one end user per app, shared by all such callers."""


class EndUser(Aggregate[EndUserEvent]):
    """Scoped to one app and one population (API or visitors).

    Attributes:
        holds: the legal holds that keep them from being erased.
    """

    seen: EndUserSeen

    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.holds: set[UUID] = set()
        self.is_to_be_erased = False
        self.is_erased = False

    @classmethod
    def see(cls, end_user_id: UUID, *, app_id: UUID, kind: EndUserKind, external_id: str, lookup: str) -> "EndUser":
        """Meet a person for the first time."""
        end_user = cls(end_user_id)
        end_user._record(
            EndUserSeen(
                app_id=app_id,
                kind=kind,
                anonymous=kind == "browser" or external_id == SHARED_EXTERNAL_ID,
                lookup=lookup,
                external_id=external_id,
            )
        )
        return end_user

    def place_hold(self, hold_id: UUID, reason: str) -> None:
        """Let nothing of theirs be erased until the hold is released.

        Raises:
            ErasedError: it is too late.
        """
        if self.is_to_be_erased:
            raise ErasedError
        self._record(LegalHoldPlaced(hold_id=hold_id, reason=reason))

    def release_hold(self, hold_id: UUID) -> None:
        """End a hold.

        Raises:
            NoSuchHoldError: there is none, or none any more.
        """
        if hold_id not in self.holds:
            raise NoSuchHoldError
        self._record(LegalHoldReleased(hold_id=hold_id))

    def rotate_key(self, keys: int) -> None:
        """Put on record that so many keys of theirs are wrapped by a new secret.

        Raises:
            ErasedError: they are nobody's any more.
        """
        if self.is_to_be_erased:
            raise ErasedError
        self._record(EndUserKeyRotated(keys))

    def request_erasure(self) -> None:
        """Have them erased. Asking again changes nothing.

        Raises:
            LegalHoldError: a hold is in the way.
        """
        if self.holds:
            raise LegalHoldError
        if not self.is_to_be_erased:
            self._record(ErasureRequested(app_id=self.seen.app_id))

    def erase(self, *, conversations: int, files: int) -> None:
        """Put on record that all that was theirs is erased. Doing so again changes nothing.

        Raises:
            NotRequestedError: nobody has asked for it.
        """
        if not self.is_to_be_erased:
            raise NotRequestedError
        if not self.is_erased:
            self._record(EndUserErased(conversations=conversations, files=files))

    def apply(self, body: EndUserEvent) -> None:
        """Fold one event into the state."""
        match body:
            case EndUserSeen():
                self.seen = body
            case LegalHoldPlaced():
                self.holds.add(body.hold_id)
            case LegalHoldReleased():
                self.holds.discard(body.hold_id)
            case ErasureRequested():
                self.is_to_be_erased = True
            case EndUserErased():
                self.is_erased = True
            case EndUserKeyRotated():
                pass
            case _:
                assert_never(body)
