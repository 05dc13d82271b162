"""The host's own projections and handlers, while they follow the ledger."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from chatledger.application.accepting import accept_id
from chatledger.application.errors import InvalidParameterError
from chatledger.application.ledger.subscription import Subscription, SubscriptionStatus
from chatledger.application.ports.tracking import ParkedStream
from chatledger.bootstrap import Running
from chatledger.embedding.access import Access

if TYPE_CHECKING:
    import sqlalchemy as sa

T = TypeVar("T")


class Subscriptions:
    """``ledger.subscriptions``. Each is called by the name that the host gave it."""

    def __init__(self, access: Access, running: Running) -> None:
        self._access = access
        self._subscriptions = running.subscriptions
        self._reader = running.reader

    async def read(self, query: "Callable[[sa.Connection], T]") -> T:
        """What ``query`` reads in one snapshot, in a thread, on a connection that cannot write: rows of projections."""
        with self._access.use():
            return await self._reader.query(query)

    async def caught_up(self, name: str, *, position: int | None = None, timeout: float = 10.0) -> None:
        """Wait until it is done with everything up to a position; without one, with all that is committed now.

        What was parked counts as done.

        Raises:
            InvalidParameterError: there is none of that name.
            TimeoutError: it took longer than ``timeout`` seconds.
            SubscriptionStoppedError: another version of the projection has taken over.
        """
        with self._access.use():
            await self._named(name).caught_up(position, timeout)

    async def status(self) -> Sequence[SubscriptionStatus]:
        """How each one does: how far it has come, how far that is from the end, how many streams it has parked."""
        with self._access.use():
            return await self._subscriptions.status()

    async def parked(self, name: str, *, limit: int = 100) -> Sequence[ParkedStream]:
        """The streams whose events it passes over, oldest failure first.

        Raises:
            InvalidParameterError: there is none of that name.
        """
        with self._access.use():
            return await self._named(name).parked(limit)

    async def retry(self, name: str, stream_id: UUID, *, timeout: float = 30.0) -> bool:
        """Give it the events of a parked stream again, in order; whether that ended well.

        Raises:
            InvalidParameterError: there is none of that name, or it has not parked the stream.
            TimeoutError: it took longer than ``timeout`` seconds; it is tried all the same.
            SubscriptionStoppedError: another version of the projection has taken over.
        """
        with self._access.use():
            subscription = self._named(name)
            try:
                return await subscription.retry(accept_id("stream_id", stream_id), timeout)
            except LookupError as error:
                raise InvalidParameterError("stream_id", str(error)) from error

    async def rebuild(self, name: str) -> None:
        """Empty a projection and have it follow again from the first event on.

        Raises:
            InvalidParameterError: there is none of that name.
            SubscriptionProblemError: it is a handler; or its own code failed, and nothing was changed.
            SubscriptionStoppedError: another version of the projection has taken over.
        """
        with self._access.use():
            self._named(name)
            await self._subscriptions.rebuild(name)

    def _named(self, name: str) -> Subscription:
        try:
            return self._subscriptions[name]
        except KeyError:
            raise InvalidParameterError("name", f"there is no projection or handler named {name!r}") from None
