"""The change feed: every event in the ledger's order, each once, from any place on, and on as they land."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import suppress
from uuid import UUID

import msgspec

from chatledger.application.accepting import MAX_PAGE, accept_number
from chatledger.application.audit.export_lines import source_of
from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import Caller, Reader
from chatledger.application.cloud_events import CloudEvent, cloud_event, unreadable_event
from chatledger.application.disclosure import event_data
from chatledger.application.errors import ClosedError, InvalidParameterError, NotFoundError
from chatledger.application.ledger.envelope import Envelope, Fact
from chatledger.application.ledger.log import LedgerLog, LogPage, is_own
from chatledger.application.ledger.origins import Origins
from chatledger.application.ports.storage import EventRow
from chatledger.application.ports.tracking import Delivery
from chatledger.application.queries.cursors import read_cursor, write_cursor
from chatledger.application.queries.directory import AppDirectory
from chatledger.application.queries.listening import SILENCE, Lookout
from chatledger.domain.events import REGISTRY
from chatledger.domain.values import ReadSubject

ROWS_AT_ONCE = 500
"""How many rows of the ledger a page looks at: where few of them are wanted it is short, and leads on all the same."""

ROWS_PER_STEP = 100
"""How many of them it holds together. What is not wanted of them is not opened."""

PACE = 0.05
"""Seconds. Under load all followers are told of news together, and no more often: they share each read."""

NOW = "now"
"""In the place of a cursor: what lands from here on."""

APPS_OWN = frozenset(("message", "conversation", "app", "end_user", "file"))
"""The categories whose events an app's key may read, where they are of its app."""

EVENT_TYPES = frozenset(event_type.name for event_type in REGISTRY)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which events somebody is told of.

    Attributes:
        reader: who is told: of an event they see what is theirs to read.
        app_id: those of this app; None for those of all apps, and the server's own.
        types: those with these stored names; none for all.
    """

    reader: Reader
    app_id: UUID | None = None
    types: frozenset[str] = frozenset()

    @property
    def subject(self) -> ReadSubject:
        """What whoever is told has read."""
        return "ledger" if self.app_id is None else "app"


class FeedEvent(msgspec.Struct, frozen=True):
    """An event, as its reader sees it.

    Attributes:
        cursor: of what follows it.
        position: its place on the ledger.
        fact: all of it; None where this release cannot read it.
        cloud_event: what of it is the reader's to see.
    """

    cursor: str
    position: int
    fact: Fact | None
    cloud_event: CloudEvent


class FeedPage(msgspec.Struct, frozen=True):
    """Some events, oldest first.

    Attributes:
        cursor: of what follows: there always is one, as the feed goes on.
        has_more: whether there is more already. A page may be empty and have more.
    """

    events: Sequence[FeedEvent]
    cursor: str
    has_more: bool


def accept_types(field: str, given: Collection[str]) -> frozenset[str]:
    """Stored names of events; none for all.

    Raises:
        InvalidParameterError: there is no event of such a name.
    """
    for name in given:
        if name not in EVENT_TYPES:
            raise InvalidParameterError(field, f"{field}: there is no event named {name[:100]!r}")
    return frozenset(given)


class Feed:
    """The feed of one ledger. Followers that stand at the same place share what is read there.

    Attributes:
        log: the ledger as it is read here.
        origins: whose each of its streams is.
        source: what the ledger is called in its events.
        closing: set where followers are to read what there is, and end.
    """

    def __init__(
        self,
        log: LedgerLog,
        origins: Origins,
        directory: AppDirectory,
        lookout: Lookout,
        reads: ContentReads,
        incarnation: UUID,
        closing: asyncio.Event,
    ) -> None:
        self.log = log
        self.origins = origins
        self._directory = directory
        self._lookout = lookout
        self._reads = reads
        self._incarnation = incarnation
        self.source = source_of(incarnation)
        self._reading: dict[int, asyncio.Task[LogPage]] = {}
        self._told = 0
        self._told_at = 0.0
        self._waiting = 0
        self._news = asyncio.Event()
        self._is_due = False
        self.closing = closing

    # What is asked for

    async def wanted(self, reader: Reader, app_id: UUID | None = None, types: Collection[str] = ()) -> Wanted:
        """What somebody wants of the feed, and may have.

        Raises:
            NotFoundError: there is no such app, or it is another one than the caller's.
            InvalidParameterError: there is no event of such a name.
        """
        if isinstance(reader, Caller):
            if app_id not in {None, reader.app.app_id}:
                raise NotFoundError("app")
            app_id = reader.app.app_id
        elif app_id is not None:
            await self._directory.app(app_id)
        return Wanted(reader=reader, app_id=app_id, types=accept_types("types", types))

    async def place(self, cursor: str | None, field: str = "after") -> int:
        """The position that a cursor stands for; None stands before the first event.

        Raises:
            InvalidParameterError: it is none of this ledger. ``field`` is what the caller calls it.
        """
        if cursor is None:
            return 0
        if cursor == NOW:
            return await self.log.head()
        position = read_cursor(field, cursor, self._incarnation)
        if position > self._told and position > await self.log.head():
            raise InvalidParameterError(field, f"{field} is beyond the end of the ledger")
        return position

    def cursor(self, position: int) -> str:
        """The cursor of what follows a position."""
        return write_cursor(self._incarnation, position)

    # Pages

    async def page(self, wanted: Wanted, after: int, limit: int) -> FeedPage:
        """Up to ``limit`` events among the next :data:`ROWS_AT_ONCE` of the ledger.

        Raises:
            InvalidParameterError: a page is not that long.
            StorageUnavailableError: the store, or the key store, is in trouble.
        """
        accept_number("limit", limit, 1, MAX_PAGE)
        step = ROWS_PER_STEP if wanted.types or wanted.app_id else limit
        end, looked_at, has_more, chosen = after, 0, True, list[EventRow]()
        while has_more and len(chosen) < limit and looked_at < ROWS_AT_ONCE:
            rows = await self.log.rows(end, step + 1)
            has_more, rows = len(rows) > step, rows[:step]
            chosen += await self._chosen(wanted, rows)
            looked_at += len(rows)
            end = rows[-1].position if rows else end
        if len(chosen) > limit:
            chosen, has_more = chosen[:limit], True
            end = chosen[-1].position
        events = await self._shown(wanted, await self.log.opened(chosen))
        return FeedPage(events, self.cursor(end), has_more)

    async def read(self, after: int) -> LogPage:
        """What follows a position; whoever asks for the same at the same time gets the same.

        Raises:
            StorageUnavailableError: the store, or the key store, is in trouble.
        """
        reading = self._reading.get(after)
        if reading is None:
            reading = self._reading[after] = asyncio.create_task(self.log.page(after, ROWS_AT_ONCE))
            reading.add_done_callback(lambda _: self._reading.pop(after))
        # One of several who wait may be cancelled: the others still want it.
        return await asyncio.shield(reading)

    async def chosen(self, wanted: Wanted, read: LogPage) -> list[FeedEvent]:
        """Those events of a page that are wanted, as their reader sees them."""
        chosen = {row.position for row in await self._chosen(wanted, [delivery.row for delivery in read.deliveries])}
        return await self._shown(wanted, [delivery for delivery in read.deliveries if delivery.position in chosen])

    async def _chosen(self, wanted: Wanted, rows: Sequence[EventRow]) -> Sequence[EventRow]:
        """Those rows that are wanted, by what can be told without opening them."""
        is_app = isinstance(wanted.reader, Caller)
        rows = [
            row
            for row in rows
            if is_own(row)
            and (not wanted.types or row.name in wanted.types)
            and (not is_app or row.category in APPS_OWN)
        ]
        if wanted.app_id is None:
            return rows
        origins = await self.origins.of(row.stream_id for row in rows)
        return [row for row in rows if origins[row.stream_id].app_id == wanted.app_id]

    async def _shown(self, wanted: Wanted, deliveries: Sequence[Delivery]) -> list[FeedEvent]:
        origins = await self.origins.of(delivery.stream_id for delivery in deliveries)
        shown = []
        for delivery in deliveries:
            app_id, fact = origins[delivery.stream_id].app_id, delivery.content
            if isinstance(fact, Exception):
                fact, event = None, unreadable_event(self.source, delivery.row, app_id)
            else:
                event = cloud_event(self.source, fact, app_id, event_data(wanted.reader, fact.envelope))
            shown.append(FeedEvent(self.cursor(delivery.position), delivery.position, fact, event))
        if shown:
            await self._reads.note(wanted.reader, wanted.subject, wanted.app_id)
        return shown

    async def close(self) -> None:
        """Wait for what is being read, though nobody may want it any more."""
        await asyncio.gather(*self._reading.values(), return_exceptions=True)

    # Followers

    def follow(self, wanted: Wanted, after: int) -> "FeedFollower":
        """Follow the feed after a position. The caller closes the follower.

        Raises:
            ClosedError: chatledger closes.
        """
        if self.closing.is_set():
            raise ClosedError
        return FeedFollower(self, wanted, after)

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        self.hear_of(envelopes[-1].position)

    def hear_of(self, position: int) -> None:
        """The ledger has grown up to there."""
        self._told = max(self._told, position)
        if self._waiting:
            self._tell_soon()

    def _tell_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time(), self._told_at + PACE), self._tell)

    def _tell(self) -> None:
        self._is_due = False
        self._told_at = asyncio.get_running_loop().time()
        self._news.set()
        self._news = asyncio.Event()

    @property
    def newest(self) -> int:
        """The last position that this process knows of."""
        return max(self._told, self._lookout.missed)

    async def news(self, position: int) -> bool:
        """Whether there is something after a position; asked for until there is, or until silence has lasted.

        Raises:
            StorageUnavailableError: there was silence, and the ledger cannot be read.
        """
        if self._told > position:
            self._tell_soon()
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENCE):
                    await self._news.wait()
        finally:
            self._waiting -= 1
        if self._told <= position:
            await self._lookout.look()
        return self.newest > position


class FeedFollower:
    """Somebody who follows the feed. It holds a page, and goes on once that is taken: who is slow holds no more.

    Attributes:
        position: of the last event that it has looked at, wanted or not.
        is_closed: whether it is to end.
    """

    def __init__(self, feed: Feed, wanted: Wanted, after: int) -> None:
        self._feed = feed
        self._wanted = wanted
        self.position = after
        self.is_closed = False

    @property
    def cursor(self) -> str:
        """The cursor of what follows all that it has looked at."""
        return self._feed.cursor(self.position)

    async def batches(self) -> AsyncGenerator[Sequence[FeedEvent], None]:
        """The events, in batches. Each second without news gives an empty one.

        Where chatledger closes they end, within a second, with what is on record.

        Raises:
            StorageUnavailableError: the ledger cannot be read.
        """
        while not self.is_closed:
            is_last = self._feed.closing.is_set()
            read = await self._feed.read(self.position)
            events = await self._feed.chosen(self._wanted, read)
            self.position = read.end
            yield events
            while not (read.is_full or self.is_closed or await self._feed.news(self.position)):
                if self._feed.closing.is_set():
                    return
                yield ()
            if is_last and not read.is_full:
                return

    def close(self) -> None:
        """End. Whoever waits for a batch is told within a second that there is none."""
        self.is_closed = True
