"""Events: what happened, in the order of the ledger, and what happens from here on."""

from collections.abc import AsyncGenerator, Collection
from contextlib import closing
from uuid import UUID

from chatledger.application.accepting import DEFAULT_PAGE
from chatledger.application.errors import ClosedError
from chatledger.application.queries.feed import FeedEvent, FeedPage
from chatledger.embedding.access import Access


class Events:
    """``ledger.events``. A host sees every event, whole; a cursor is a place on this ledger, and on no other one."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def page(
        self,
        *,
        after: str | None = None,
        app: UUID | None = None,
        types: Collection[str] = (),
        limit: int = DEFAULT_PAGE,
    ) -> FeedPage:
        """Some events after a cursor, oldest first.

        Each call looks at a bounded part of the ledger: with ``app`` or ``types`` a page may be short, or empty, and
        lead on all the same.

        Args:
            after: the cursor of an earlier page or event; None begins with the first event of the ledger, and ``"now"``
                after its last.
            app: those of this app.
            types: those of these types, as ``"MessageCompleted"``.
            limit: how many at most, up to 100.

        Raises:
            NotFoundError: there is no such app.
            InvalidParameterError: the cursor is none of this ledger, there is no such type, or no page is that long.
            StorageUnavailableError: the store is in trouble.
        """
        with self._access.use() as application:
            feed = application.feed
            wanted = await feed.wanted(await self._access.reader(None, None), app, types)
            return await feed.page(wanted, await feed.place(after), limit)

    async def follow(
        self, *, after: str | None = None, app: UUID | None = None, types: Collection[str] = ()
    ) -> AsyncGenerator[FeedEvent, None]:
        """The events after a cursor, each once, in order, and on as they land. The arguments are those of :meth:`page`.

        Raises:
            NotFoundError: there is no such app.
            InvalidParameterError: the cursor is none of this ledger, or there is no such type.
            StorageUnavailableError: the store is in trouble; go on after the last event's ``cursor``.
            ClosedError: chatledger was closed.
        """
        with self._access.use() as application:
            feed = application.feed
            wanted = await feed.wanted(await self._access.reader(None, None), app, types)
            with closing(feed.follow(wanted, await feed.place(after))) as follower:
                async for batch in follower.batches():
                    for event in batch:
                        yield event
            raise ClosedError
