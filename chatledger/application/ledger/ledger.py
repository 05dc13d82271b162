"""The unit of work: aggregates off the ledger, their new events onto it, whole or not at all."""

import asyncio
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from chatledger.application.context import Context
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.hand_ins import HandIn, NewEvent, VersionConflictError
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.erasure import IsGone
from chatledger.application.ports.keys import Keyring, NewKey
from chatledger.application.ports.storage import Category, Change, EventRow, Guard, LedgerStore, StoredStream
from chatledger.domain.aggregate import Aggregate
from chatledger.domain.app import App
from chatledger.domain.conversation import Conversation
from chatledger.domain.end_user import EndUser
from chatledger.domain.file import File
from chatledger.domain.key_store import KeyStore
from chatledger.domain.message import Message
from chatledger.domain.notary import Notary
from chatledger.domain.operator import Operator
from chatledger.domain.webhook import Webhook

A = TypeVar("A", bound=Aggregate[Any])

MAX_TRIES = 10

FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.1
"""Seconds. Who loses a race pauses at random, longer each time: else the many would keep each other from deciding."""
HOT_MESSAGES = 4_096

CATEGORIES: dict[type[Aggregate[Any]], Category] = {
    Message: "message",
    Conversation: "conversation",
    App: "app",
    EndUser: "end_user",
    File: "file",
    Operator: "operator",
    Notary: "notary",
    KeyStore: "key_store",
    Webhook: "webhook",
}


class Staged(msgspec.Struct, Generic[A]):
    """An aggregate with the data key that seals its events."""

    aggregate: A
    key_id: UUID | None


class Ledger:
    """Loads aggregates and hands in what they record."""

    def __init__(
        self,
        store: LedgerStore,
        codec: EventCodec,
        keyring: Keyring,
        writer: GroupCommitWriter,
        new_id: IdFactory,
        *,
        hot_messages: int = HOT_MESSAGES,
        is_shared: bool = False,
    ) -> None:
        self._store = store
        self._codec = codec
        self._writer = writer
        self._new_id = new_id
        self._hot_messages = hot_messages
        self._is_shared = is_shared
        self.keyring = keyring
        self._contended: Counter[UUID] = Counter()
        self._hot: OrderedDict[UUID, Staged[Message]] = OrderedDict()

    @property
    def head_position(self) -> int:
        """The last position that this process knows to be committed."""
        return self._writer.head_position

    async def latest(self) -> int:
        """The last position, by whomever it was committed.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        return (await self._store.head()).position if self._is_shared else self.head_position

    @property
    def trouble(self) -> str | None:
        """Why the store takes nothing at the moment; None while it does, as far as anybody knows."""
        return self._writer.trouble

    async def read(self, stream_id: UUID, after: int = 0, limit: int | None = None) -> list[Envelope]:
        """The committed events of a stream after a version; with a limit no more than so many."""
        return await self._store.stream(stream_id, self._codec.decode_all, after=after, limit=limit)

    async def read_many(self, wanted: Sequence[tuple[UUID, int]], most: int) -> list[list[Envelope] | Exception]:
        """For each stream and version the committed events after it; what is wrong with one is no matter of the others.

        Raises:
            StorageUnavailableError: nothing can be read.
        """

        def decode(rows: Sequence[EventRow]) -> list[Envelope] | Exception:
            try:
                return self._codec.decode_all(rows)
            except Exception as error:  # noqa: BLE001 - whoever wanted this one is told of it
                return error

        return await self._store.streams(wanted, decode, most=most)

    async def first(self, stream_id: UUID) -> Envelope | None:
        """The event that a stream began with, or None where there is no such stream."""
        found = await self._store.stream(stream_id, self._codec.decode_all, limit=1)
        return found[0] if found else None

    async def stream_head(self, stream_id: UUID) -> StoredStream | None:
        """A stream's version and data key, without its events; None where there is no such stream."""
        return await self._store.stream_head(stream_id)

    async def event_at(self, position: int) -> Envelope:
        """The event at a position that there is: of an erased one what is public.

        Raises:
            LookupError: there is no such position.
        """
        found = await self._store.log(self._codec.decode_all_or_erased, after=position - 1, limit=1)
        if not found or found[0].position != position:
            raise LookupError(str(position))
        return found[0]

    async def load(self, kind: type[A], aggregate_id: UUID, *, even_erased: bool = False) -> Staged[A] | None:
        """An aggregate as it stands on the ledger, or None where it does not exist.

        Raises:
            KeyDestroyedError: its key is gone. ``even_erased`` takes what is public for all that there is.
        """
        decode = self._codec.decode_all_or_erased if even_erased else self._codec.decode_all
        envelopes = await self._store.stream(aggregate_id, decode)
        if not envelopes or envelopes[0].category != CATEGORIES[kind]:
            return None
        aggregate = kind.fold(aggregate_id, (envelope.body for envelope in envelopes))
        return Staged(aggregate, envelopes[0].key_id)

    async def message(self, message_id: UUID) -> Message | None:
        """A message as it stands on the ledger, or None where there is none."""
        staged = await self.load(Message, message_id)
        return None if staged is None else staged.aggregate

    async def at_its_end(self, kind: type[A], aggregate_id: UUID) -> Staged[A]:
        """An aggregate of which nothing but its version is known: for commands that ask nothing of its state.

        One that does not exist yet begins here, without a data key.
        """
        head = await self.stream_head(aggregate_id)
        aggregate = kind(aggregate_id)
        if head is not None:
            aggregate.version = head.version
        return Staged(aggregate, None if head is None else head.key_id)

    def hand_in(
        self,
        *staged: Staged[Any],
        context: Context | int,
        expected: dict[UUID, int] | None = None,
        guards: Sequence[Guard] = (),
        new_keys: Sequence[NewKey] = (),
        changes: Sequence[Change] = (),
    ) -> "asyncio.Future[list[Envelope]]":
        """Commit what the aggregates have recorded. Where the future fails they are spent: load them anew.

        The future raises:
            VersionConflictError: one of them has moved on since it was read.
            NotUniqueError: a guard does not hold.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        events: list[NewEvent] = []
        folded: dict[UUID, Message] = {}
        for entry in staged:
            category = CATEGORIES[type(entry.aggregate)]
            events += [
                NewEvent(recorded, category, self._new_id(), entry.key_id)
                for recorded in entry.aggregate.collect_events()
            ]
            if category == "message":
                folded[entry.aggregate.id] = entry.aggregate
        return self._writer.hand_in(
            HandIn(
                events=events,
                context=context,
                expected=expected or {},
                guards=guards,
                new_keys=new_keys,
                changes=changes,
                folded=folded,
            )
        )

    async def decide(
        self,
        kind: type[A],
        aggregate_id: UUID,
        command: Callable[[Staged[A]], None],
        context: Context,
        *,
        even_erased: bool = False,
    ) -> list[Envelope]:
        """Load, run a command, commit; on a conflict all over again. No new events, no commit.

        Raises:
            LookupError: there is no such aggregate.
            KeyDestroyedError: its key is gone; with ``even_erased`` only where the command seals anything.
            VersionConflictError: it kept moving on under ten tries in a row.
        """
        conflicts = 0
        try:
            while conflicts < MAX_TRIES:
                staged = await self.load(kind, aggregate_id, even_erased=even_erased)
                if staged is None:
                    raise LookupError(str(aggregate_id))
                before = staged.aggregate.version
                command(staged)
                if staged.aggregate.version == before:
                    return []
                try:
                    return await self.hand_in(staged, context=context)
                except VersionConflictError:
                    conflicts += 1
                    self._contended[aggregate_id] += 1
                    await asyncio.sleep(random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**conflicts)))  # noqa: S311
            raise VersionConflictError(str(aggregate_id))
        finally:
            self._contended[aggregate_id] -= conflicts
            if not self._contended[aggregate_id]:
                del self._contended[aggregate_id]

    def is_contended(self, aggregate_id: UUID) -> bool:
        """Whether somebody decides on it again because others were faster: whoever can wait lets them go first."""
        return aggregate_id in self._contended

    async def keep(self, *changes: Change, guards: Sequence[Guard] = ()) -> None:
        """Move operational state, which is no fact, with the next commit.

        Raises:
            NotUniqueError: a guard does not hold; nothing is moved.
        """
        await self._writer.hand_in(HandIn(events=(), context=0, changes=changes, guards=guards))

    # A message that was just sent is about to be answered by a worker in this process, most of the time.

    def keep_hot(self, staged: Staged[Message]) -> None:
        """Keep a message that is being committed for the worker. Bounded; whoever finds none loads it."""
        self._hot[staged.aggregate.id] = staged
        if len(self._hot) > self._hot_messages:
            self._hot.popitem(last=False)

    def forget_hot(self, message_id: UUID) -> None:
        """The commit failed: there is no such message."""
        self._hot.pop(message_id, None)

    def forget_erased(self, is_gone: IsGone) -> None:
        """Let go of messages whose keys are gone."""
        for message_id in [message_id for message_id, staged in self._hot.items() if is_gone(staged.key_id)]:
            del self._hot[message_id]

    async def take_message(self, message_id: UUID, attempt: int) -> Staged[Message] | None:
        """The message, handed over to the caller alone, who knows of this attempt.

        It may be stale all the same; then its next hand-in conflicts.
        """
        hot = self._hot.pop(message_id, None)
        # Another process may have had it meanwhile.
        return hot if hot is not None and hot.aggregate.attempt == attempt else await self.load(Message, message_id)
