"""The group-commit writer: whatever was handed in since the last commit goes into the next one."""

import asyncio
import logging
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import msgspec

from chatledger.application.fault_report import describe
from chatledger.application.ledger.catching_up import CatchingUp
from chatledger.application.ledger.codec import EncodedBody, EventCodec
from chatledger.application.ledger.envelope import Envelope, to_microseconds
from chatledger.application.ledger.hand_ins import Admission, HandIn
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ledger.projections import InlineProjections
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.keys import Keyring
from chatledger.application.ports.storage import Change, EventRow, LedgerStore, StorageUnavailableError, Transaction
from chatledger.domain.message import Message

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_EVENTS_PER_COMMIT = 2_000
MAX_WAITING = 20_000

LOOK_AGAIN = 0.5
"""Seconds between two looks at a store in trouble. In between nothing is tried: it would eat what room there is."""

LOOKS_AT_KEYS = 5
"""Each is good for a moment. Where processes share the keys, others look as well all the time."""

_NUMBERS = re.compile(r"\d+")


class _Member:
    """One hand-in on its way through a commit.

    ``placed`` is the same as the last admission had it, behind text perhaps: the next one may have it elsewhere.
    """

    __slots__ = ("bodies", "envelopes", "error", "future", "hand_in", "placed")

    def __init__(self, hand_in: HandIn, future: "asyncio.Future[list[Envelope]]") -> None:
        self.hand_in = self.placed = hand_in
        self.future = future
        self.bodies: list[EncodedBody] = []
        self.envelopes: list[Envelope] = []
        self.error: BaseException | None = None


class _NoKeysError(Exception):
    """New keys were not to be had at once, and nothing was written."""


Observer = Callable[[Sequence[Envelope]], None]


class GroupCommitWriter:
    """One thread; one transaction after another; one call into the event loop per transaction.

    A hand-in that conflicts fails alone and costs the others nothing. Any other failure rolls the whole group back,
    and its members are run one by one, so that a bad one fails alone too. Observers are told of committed events in
    order of position, before the caller's own future is set, and never of anything that is not committed.
    """

    def __init__(
        self,
        store: LedgerStore,
        codec: EventCodec,
        keyring: Keyring,
        projections: InlineProjections,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._store = store
        self._codec = codec
        self._keyring = keyring
        self._projections = projections
        self._catching_up = CatchingUp(store, codec, projections)
        self._clock = clock
        self._loop = loop
        self._inbox: queue.SimpleQueue[list[_Member] | Callable[[], None] | None] = queue.SimpleQueue()
        self._handed_in: list[_Member] = []
        self._waiting = 0
        self._observers: list[Observer] = []
        self._head_position = 0
        self._left_at = 0
        self._is_closed = False
        self._trouble: str | None = None
        self._looked_at = -LOOK_AGAIN
        self._waits_for_keys = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    def hear_of(self, position: int) -> None:
        """Somebody else has committed up to there. To be called in the event loop."""
        self._head_position = max(self._head_position, position)

    def observe(self, observer: Observer) -> None:
        """Call ``observer`` in the event loop after each commit. It must not block or raise."""
        self._observers.append(observer)

    def start(self, head_position: int) -> None:
        """Begin to commit, at this end of the ledger."""
        self._head_position = self._left_at = head_position
        self._thread.start()

    @property
    def head_position(self) -> int:
        """The last position that this process knows to be committed."""
        return self._head_position

    @property
    def trouble(self) -> str | None:
        """Why the store takes nothing at the moment; None while it does, as far as anybody knows."""
        return self._trouble

    async def require_writable(self) -> None:
        """Pass where the stores of events and of keys can be written.

        Raises:
            StorageUnavailableError: one of them cannot, or the writer is closed.
        """
        await self.run_alone(self._require_writable)

    def hand_in(self, hand_in: HandIn) -> "asyncio.Future[list[Envelope]]":
        """Queue for the next commit. The future gives the committed events, or the reason of the refusal.

        Raises:
            StorageUnavailableError: the writer is closed, or its queue is at its bound.
        """
        if self._is_closed or self._waiting >= MAX_WAITING:
            raise StorageUnavailableError("the ledger's writer takes no more work")
        future: asyncio.Future[list[Envelope]] = self._loop.create_future()
        if not self._handed_in:
            self._loop.call_soon(self._pass_on)
        self._handed_in.append(_Member(hand_in, future))
        self._waiting += 1
        return future

    def _pass_on(self) -> None:
        """Give the thread all that one turn of the loop handed in: woken by the first, it would commit that alone."""
        if self._handed_in:
            self._inbox.put(self._handed_in)
            self._handed_in = []

    async def catch_up(self) -> None:
        """Have the read models show whatever anybody has committed until now.

        Raises:
            StorageUnavailableError: the store is in trouble, or the writer takes no more work.
        """
        await self.hand_in(HandIn(events=(), context=0))

    async def run_alone(self, work: Callable[[], T]) -> T:
        """The result of blocking ``work``, run on the writer's thread between two commits.

        Raises:
            StorageUnavailableError: the writer is closed.
        """
        if self._is_closed:
            raise StorageUnavailableError("the ledger's writer takes no more work")
        done: asyncio.Future[T] = self._loop.create_future()

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, and the thread go on
                self._loop.call_soon_threadsafe(_settle_exception, done, error)
            else:
                self._loop.call_soon_threadsafe(_settle_result, done, result)

        self._pass_on()
        self._inbox.put(run)
        return await done

    async def close(self) -> None:
        """Commit what was handed in, then end the thread."""
        if not self._is_closed:
            self._is_closed = True
            self._pass_on()
            self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    # The writer's thread

    def _run(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, list):
                group, item = self._gather(item)
                self._commit(group)
                self._loop.call_soon_threadsafe(self._settle, group)
            if item is None:
                return
            if not isinstance(item, list):
                item()

    def _next(self) -> list[_Member] | Callable[[], None] | None:
        """What was handed in next. A store in trouble is looked after meanwhile."""
        while self._trouble is not None:
            with suppress(queue.Empty):
                return self._inbox.get(timeout=LOOK_AGAIN)
            self._look()
        return self._inbox.get()

    def _gather(self, first: list[_Member]) -> tuple[list[_Member], Any]:
        """What is waiting, until the bound is reached; and the item that ended it, if those were no hand-ins."""
        group, events = list(first), _count_events(first)
        while events < MAX_EVENTS_PER_COMMIT:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                break
            if not isinstance(item, list):
                return group, item
            group += item
            events += _count_events(item)
        return group, first

    def _commit(self, group: Sequence[_Member]) -> None:
        ready = [member for member in group if self._encode(member)]
        if not ready:
            return
        if self._trouble is not None:
            self._look()
        if self._trouble is not None:
            for member in ready:
                member.error = StorageUnavailableError(self._trouble)
            return
        try:
            self._write(ready)
        except StorageUnavailableError as error:
            self._note_trouble(error)
            for member in ready:
                member.error = error
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, and the thread go on
            if len(ready) == 1:
                ready[0].error = error
            else:
                for member in ready:
                    member.error = None
                    self._commit([member])

    def _encode(self, member: _Member) -> bool:
        """Seal and encode before the lock is taken."""
        try:
            member.bodies = [
                self._codec.encode(event.recorded.body, event.recorded.originator_id, event.event_id, event.key_id)
                for event in member.hand_in.events
            ]
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, and the thread go on
            member.error = error
            return False
        return True

    def _write(self, members: Sequence[_Member]) -> None:
        try:
            self._write_with_keys(members)
        except _NoKeysError:
            self._write_with_keys(members)

    def _write_with_keys(self, members: Sequence[_Member]) -> None:
        """Where the last new keys were not had at once, the next are waited for before the ledger's lock is taken.

        Under it all processes would wait, for one after the other.
        """
        if self._waits_for_keys:
            members = self._that_may_have_keys(members)
        if members:
            self._catching_up.before(lambda most: self._has_written(members, most))

    def _that_may_have_keys(self, members: Sequence[_Member]) -> Sequence[_Member]:
        """Those that need no new keys, and the others once the key store can be written; else they get its error."""
        if not any(member.hand_in.new_keys for member in members):
            return members
        try:
            self._keyring.require_writable()
        except StorageUnavailableError as error:
            return _refuse_new_keys(members, error)
        return members

    def _has_written(self, members: Sequence[_Member], most: int | None) -> bool:
        """False where others, with read models of another version, are more than so many events ahead of these."""
        with self._current_transaction() as transaction:
            head = transaction.head()
            if not self._catching_up.finish(transaction, most):
                return False
            if head.position != self._left_at:  # others have committed since
                self._head_position = max(self._head_position, head.position)
            recorded_at = max(head.recorded_at, to_microseconds(self._clock.now()))
            admitted = self._admit_with_keys(members, lambda: Admission(transaction, recorded_at))
            position = head.position
            rows: list[EventRow] = []
            changes: list[Change] = []
            for member in admitted:
                position = self._number(member, position, recorded_at, rows)
            transaction.append(rows)
            for member in admitted:
                for envelope in member.envelopes:
                    changes += self._projections.changes(envelope, self._folder(transaction, member, envelope))
                changes += member.hand_in.changes
            transaction.apply(changes)
        self._left_at = position
        return True

    @contextmanager
    def _current_transaction(self) -> Iterator[Transaction]:
        """One in which all is known that others had destroyed for long.

        The key store is looked into before it: under the ledger's lock every process would wait for one that cannot
        reach it.
        """
        for _ in range(LOOKS_AT_KEYS):
            self._keyring.require_current()
            with self._store.write() as transaction:
                if self._keyring.is_current:  # still, for the lock may have been waited for
                    yield transaction
                    return
        raise StorageUnavailableError(
            f"the ledger's lock took too long, {LOOKS_AT_KEYS} times: what others have destroyed is not known any more"
        )

    def _admit_with_keys(self, members: Sequence[_Member], admission: Callable[[], Admission]) -> list[_Member]:
        """Those that hold and whose new keys are durable; the others get their error.

        A key store in trouble is no matter of those that have no new keys: they hold, or do not, without the rest.

        Raises:
            _NoKeysError: it is in trouble, and was not when it was asked last.
        """
        admitted = _admit(members, admission())
        new_keys = [key for member in admitted for key in member.hand_in.new_keys]
        try:
            self._keyring.make_durable(new_keys)
        except StorageUnavailableError as error:
            if not self._waits_for_keys:
                self._waits_for_keys = True
                raise _NoKeysError from error
            return _admit(_refuse_new_keys(members, error), admission())
        self._waits_for_keys = self._waits_for_keys and not new_keys
        return admitted

    def _number(self, member: _Member, position: int, recorded_at: int, rows: list[EventRow]) -> int:
        context = member.hand_in.context
        context_position = context if isinstance(context, int) else position + 1
        context_bytes = None if isinstance(context, int) else msgspec.json.encode(context)
        member.envelopes = []
        for event, body in zip(member.placed.events, member.bodies, strict=True):
            position += 1
            recorded = event.recorded
            row = EventRow(
                position=position,
                stream_id=recorded.originator_id,
                category=event.category,
                version=recorded.originator_version,
                event_id=event.event_id,
                name=body.name,
                schema=body.schema,
                recorded_at=recorded_at,
                public=body.public,
                sealed=body.sealed,
                key_id=event.key_id,
                algorithm="none" if body.sealed is None else "aes-256-gcm",
                context_position=context_position,
                context=context_bytes if position == context_position else None,
            )
            rows.append(msgspec.structs.replace(row, leaf=leaf_hash(row)))
            member.envelopes.append(
                Envelope(
                    position,
                    recorded.originator_id,
                    event.category,
                    recorded.originator_version,
                    event.event_id,
                    recorded_at,
                    context_position,
                    event.key_id,
                    recorded.body,
                )
            )
        return position

    def _folder(self, transaction: Transaction, member: _Member, envelope: Envelope) -> Callable[[], Message]:
        def folded() -> Message:
            at_hand = member.hand_in.folded.get(envelope.stream_id)
            if at_hand is not None:
                return at_hand
            return self._codec.message(transaction.read_stream(envelope.stream_id), envelope.version)

        return folded

    # A store in trouble

    def _note_trouble(self, error: StorageUnavailableError) -> None:
        """Keep the reason, and log it if it is another one, in more than the number of a file."""
        before, self._trouble = self._trouble, str(error)
        if before is None or _NUMBERS.sub("", before) != _NUMBERS.sub("", self._trouble):
            log.warning("the store is in trouble: %s", error)

    def _look(self) -> None:
        """See whether the store can be written, unless that is known from a moment ago."""
        now = self._clock.monotonic()
        if now - self._looked_at < LOOK_AGAIN:
            return
        try:
            self._store.require_writable(with_room=self._trouble is not None)
        except StorageUnavailableError as error:
            self._note_trouble(error)
        except BaseException as error:  # noqa: BLE001 - the thread must go on, and look again
            self._note_trouble(StorageUnavailableError(describe(error)))
        else:
            if self._trouble is not None:
                log.warning("the store can be written again")
            self._trouble = None
        self._looked_at = self._clock.monotonic()

    def _require_writable(self) -> None:
        self._look()
        if self._trouble is not None:
            raise StorageUnavailableError(self._trouble)
        self._keyring.require_writable()

    # The event loop

    def _settle(self, group: Sequence[_Member]) -> None:
        self._waiting -= len(group)
        committed = [envelope for member in group if member.error is None for envelope in member.envelopes]
        try:
            if committed:
                self._head_position = max(self._head_position, committed[-1].position)
                for observer in self._observers:
                    tell(observer, committed)
        finally:
            for member in group:
                if member.error is None:
                    _settle_result(member.future, member.envelopes)
                else:
                    _settle_exception(member.future, member.error)


def _count_events(members: Sequence[_Member]) -> int:
    return sum(len(member.hand_in.events) for member in members)


def _admit(members: Sequence[_Member], admission: Admission) -> list[_Member]:
    """Those that hold, each counted on top of the ones before it; the others get their error."""
    admission.look_up(member.hand_in for member in members)
    for member in members:
        member.placed = admission.behind_text(member.hand_in)
        member.error = admission.admit(member.placed)
    return [member for member in members if member.error is None]


def _refuse_new_keys(members: Sequence[_Member], error: StorageUnavailableError) -> list[_Member]:
    """Those that have none; the others get the error."""
    for member in members:
        member.error = error if member.hand_in.new_keys else None
    return [member for member in members if member.error is None]


def tell(observer: Observer, committed: Sequence[Envelope]) -> None:
    """Tell an observer; one that fails keeps nothing from the others."""
    try:
        observer(committed)
    except Exception as error:  # noqa: BLE001 - the others have to hear of it all the same
        log.critical("an observer of commits failed: %s", describe(error))


def _settle_result(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _settle_exception(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
