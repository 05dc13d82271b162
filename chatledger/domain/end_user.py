"""An end user: the person whom the API's customer names with an opaque string."""

from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.events import EndUserEvent, EndUserSeen
from chatledger.domain.values import EndUserKind

SHARED_EXTERNAL_ID = "DEFAULT-USER"
"""Who acts where the caller names nobody: one end user per app, shared by all such callers."""


class EndUser(Aggregate[EndUserEvent]):
    """Scoped to one app and one population (API or visitors)."""

    seen: EndUserSeen

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

    def apply(self, body: EndUserEvent) -> None:
        """Fold one event into the state."""
        self.seen = body
