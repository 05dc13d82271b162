"""Webhooks: endpoints elsewhere that are told of what happens."""

from collections.abc import Collection, Sequence
from uuid import UUID

from chatledger.application.accepting import MAX_PAGE, accept_id
from chatledger.application.commands.managing_webhooks import OVERLAP, EndpointState, RegisteredEndpoint, Trial
from chatledger.application.ports.webhooks import Undelivered
from chatledger.embedding.access import Access


class Webhooks:
    """``ledger.webhooks``. What names an endpoint raises ``NotFoundError`` where there is none of that id."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def add(
        self,
        url: str,
        *,
        app: UUID | None = None,
        types: Collection[str] = (),
        secret: str | None = None,
        after: str | None = "now",
    ) -> RegisteredEndpoint:
        """Tell an endpoint of an app's events, or of those of all apps, each as its own app's key would see it.

        Args:
            url: where it is.
            app: whose events; None for those of all apps.
            types: the types of those events, as ``"MessageCompleted"``; none for all.
            secret: what signs, in the form of Standard Webhooks; a new one by default.
            after: a cursor of ``ledger.events``: what comes after it; None for everything.

        Raises:
            InvalidParameterError: a value is not acceptable, the URL leads to an address that nothing is sent to, or
                there are as many endpoints as there may be.
            NotFoundError: there is no such app.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            return await application.webhooks.register(
                url, self._access.host(), app_id=app, types=types, secret=secret, after=after
            )

    async def list(self) -> Sequence[EndpointState]:
        """All of them, and how far each was told."""
        with self._access.use() as application:
            return await application.webhooks.endpoints()

    async def get(self, endpoint_id: UUID) -> EndpointState:
        """One of them."""
        with self._access.use() as application:
            return await application.webhooks.endpoint(accept_id("endpoint_id", endpoint_id))

    async def remove(self, endpoint_id: UUID) -> None:
        """Tell it nothing any more."""
        with self._access.use() as application:
            await application.webhooks.remove(accept_id("endpoint_id", endpoint_id), self._access.host())

    async def rotate_secret(self, endpoint_id: UUID, *, secret: str | None = None, overlap: float = OVERLAP) -> str:
        """Sign with another secret, which is shown this once; the one so far signs too for ``overlap`` seconds.

        Raises:
            InvalidParameterError: the secret or the overlap is not acceptable.
        """
        with self._access.use() as application:
            endpoint_id = accept_id("endpoint_id", endpoint_id)
            return await application.webhooks.rotate_secret(
                endpoint_id, self._access.host(), secret=secret, overlap=overlap
            )

    async def disable(self, endpoint_id: UUID) -> None:
        """Tell it nothing for now."""
        with self._access.use() as application:
            await application.webhooks.disable(accept_id("endpoint_id", endpoint_id), self._access.host())

    async def enable(self, endpoint_id: UUID) -> None:
        """Tell it again, of what happened meanwhile too."""
        with self._access.use() as application:
            await application.webhooks.enable(accept_id("endpoint_id", endpoint_id), self._access.host())

    async def test(self, endpoint_id: UUID) -> Trial:
        """Send it an event that is none of the ledger, right now and once."""
        with self._access.use() as application:
            return await application.webhooks.test(accept_id("endpoint_id", endpoint_id))

    async def dead_letters(
        self, endpoint_id: UUID, *, after: int = 0, limit: int = MAX_PAGE
    ) -> tuple[Sequence[Undelivered], bool]:
        """The events that were given up on, in order, after a position; and whether more follow.

        Raises:
            InvalidParameterError: a page is not that long.
        """
        with self._access.use() as application:
            return await application.webhooks.dead_letters(accept_id("endpoint_id", endpoint_id), after, limit)

    async def replay_dead_letters(self, endpoint_id: UUID, positions: Collection[int] | None = None) -> int:
        """Try them again, these or all; how many there were."""
        with self._access.use() as application:
            endpoint_id = accept_id("endpoint_id", endpoint_id)
            return await application.webhooks.replay_dead_letters(endpoint_id, self._access.host(), positions)

    async def replay(self, endpoint_id: UUID, *, after: str | None) -> None:
        """Tell it everything after a cursor once more, each event under the id that it had; None for everything.

        Raises:
            InvalidParameterError: it is no cursor of this ledger.
        """
        with self._access.use() as application:
            await application.webhooks.replay(accept_id("endpoint_id", endpoint_id), after, self._access.host())
