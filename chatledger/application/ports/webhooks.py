"""Webhooks: the endpoints there are, how far each was told, and sending to an address that may be anything."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from chatledger.domain.values import DisabledFor


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as it is registered. Times are microseconds since the epoch, here and below.

    Attributes:
        app_id: whose events it is told of; None for those of all apps.
        types: the stored names of those events; none for all of them.
        after: the position after which it is told of them.
        previous: a secret that signs too, until ``previous_until``.
    """

    endpoint_id: UUID
    app_id: UUID | None
    types: frozenset[str]
    after: int
    created_at: int
    disabled_for: DisabledFor | None
    url: str
    secret: str
    previous: str | None
    previous_until: int | None

    def secrets_in_force(self, now: int) -> Sequence[str]:
        """What signs at a time."""
        if self.previous is None or self.previous_until is None or now >= self.previous_until:
            return (self.secret,)
        return self.secret, self.previous

    def __repr__(self) -> str:
        """Without its secrets."""
        return f"Endpoint({self.endpoint_id})"


class EndpointViews(Protocol):
    """The endpoints that there are."""

    async def endpoints(self) -> Sequence[Endpoint]:
        """All of them, the first that was registered first."""
        ...

    async def endpoint(self, endpoint_id: UUID) -> Endpoint | None:
        """One of them."""
        ...


class Undelivered(msgspec.Struct, frozen=True, kw_only=True):
    """An event that an endpoint was to be told of, and has not taken.

    Attributes:
        order_id: what it is ordered within: none of what comes after it there is told before it.
        attempts: how often it was tried.
        due_at: when it is to be tried again.
        error: what became of the last attempt: a status, or why there was no reply.
        failed_at: when that was.
        is_dead: it is tried no more, unless somebody asks for it, and holds nothing up.
    """

    position: int
    order_id: UUID
    attempts: int = 0
    due_at: int = 0
    error: str | None = None
    failed_at: int | None = None
    is_dead: bool = False


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an endpoint was told.

    Attributes:
        position: everything up to it was taken, or is among the undelivered.
        failures: how often in a row it was tried in vain since it is held to be down.
        failing_since: since when nothing that was tried was taken; moved on by the time in which nothing was tried.
        paused_until: nothing is tried before.
    """

    position: int
    failures: int = 0
    failing_since: int | None = None
    paused_until: int = 0


class Standing(msgspec.Struct, frozen=True):
    """How an endpoint does.

    Attributes:
        waiting: how many events it has not taken that are tried again.
        dead: how many are dead.
    """

    progress: Progress
    waiting: int
    dead: int


class OnRecord(msgspec.Struct, frozen=True):
    """Where telling an endpoint goes on.

    Attributes:
        undelivered: in order, what is to be tried again, and the dead after the position up to which it was told.
        dead: how many are dead in all.
        forgiven: how many were when it was enabled last.
        revision: rises whenever somebody else than its courier changes what is on record.
    """

    progress: Progress
    undelivered: Sequence[Undelivered]
    dead: int
    forgiven: int = 0
    revision: int = 0


class RecordChangedError(Exception):
    """What is on record of an endpoint is not what its courier builds on any more."""


class Deliveries(Protocol):
    """How far each endpoint was told: operational state. Where it is lost, events are told again, and none is left out.

    Everything here raises :class:`~chatledger.application.ports.storage.StorageUnavailableError` where the store is in
    trouble; then nothing was written.
    """

    async def begin(self, endpoint_id: UUID, position: int) -> OnRecord:
        """Where an endpoint stands: at ``position``, if it is new."""
        ...

    async def standing(self, endpoint_id: UUID) -> Standing | None:
        """Where it stands; None where it was told nothing yet."""
        ...

    async def revisions(self) -> Mapping[UUID, int]:
        """How often what is on record of each endpoint was changed by somebody else than its courier."""
        ...

    async def save(
        self,
        endpoint_id: UUID,
        progress: Progress,
        undelivered: Collection[Undelivered],
        delivered: Collection[int],
        *,
        revision: int,
    ) -> None:
        """Its progress; what it has not taken, in place of what was on record; and the positions that it has taken.

        Raises:
            RecordChangedError: somebody has changed what is on record since it had this revision; nothing is saved.
            LeaseLostError: another node tells the endpoints by now; nothing is saved.
        """
        ...

    async def dead_letters(self, endpoint_id: UUID, after: int, limit: int) -> Sequence[Undelivered]:
        """Its dead events after a position, in order."""
        ...

    async def revive(self, endpoint_id: UUID, positions: Collection[int] | None) -> int:
        """Have dead events tried again, these or all, as if they never had been; how many there were."""
        ...

    async def rewind(self, endpoint_id: UUID, position: int) -> None:
        """Have everything after a position told again; what it was not told before that is told all the same."""
        ...

    async def forgive(self, endpoint_id: UUID) -> None:
        """Hold nothing against it that it has failed so far: what waits is tried now, as if for the first time."""
        ...

    async def forget(self, endpoint_id: UUID) -> None:
        """It is told nothing any more."""
        ...


Unsent = Literal["address_refused", "unreachable", "timeout", "broken"]
"""Why there is no reply: nobody may send there; nobody listens there; it took too long; it is no HTTP."""


class NotSentError(Exception):
    """There is no reply. Whether the body arrived nobody knows."""

    def __init__(self, reason: Unsent, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason: Unsent = reason


class AddressRefusedError(NotSentError):
    """Nobody may send there: the host's name leads to an address that is not public, or nowhere. Nothing was sent.

    The text is for whoever registers the endpoint.
    """

    def __init__(self, detail: str) -> None:
        super().__init__("address_refused", detail)


class Reply(msgspec.Struct, frozen=True):
    """What an endpoint said. Its words are of no interest.

    Attributes:
        retry_after: seconds for which it wants to be left alone.
    """

    status: int
    retry_after: float | None = None

    @property
    def is_success(self) -> bool:
        """Whether the endpoint has taken it."""
        return 200 <= self.status < 300


class WebhookSender(Protocol):
    """Sends to addresses that somebody else chose.

    It sends to public addresses alone, and to those that the server's operator allows: it connects to the very address
    that it has checked. Without TLS it sends to the latter only. It follows no redirect.
    """

    async def require_allowed(self, url: str) -> None:
        """Let a URL pass that something may be sent to, as its host's name is resolved now.

        Raises:
            AddressRefusedError: it may not.
        """
        ...

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST a body, within a time limit. The status is the reply, whether or not what follows it arrives.

        Raises:
            NotSentError: there is no reply.
        """
        ...

    async def close(self) -> None:
        """Give every connection back."""
        ...
