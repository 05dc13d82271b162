"""What is handed in to be committed, and whether it holds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, assert_never
from uuid import UUID

import msgspec

from chatledger.application.context import Context
from chatledger.application.ports.keys import NewKey
from chatledger.application.ports.storage import (
    Category,
    CeilingGuard,
    Change,
    Guard,
    IdempotencyGuard,
    IdleGuard,
    RepeatGuard,
    ReplayGuard,
    StoredStream,
    Transaction,
    UniqueGuard,
)
from chatledger.domain.aggregate import Recorded
from chatledger.domain.events import HOLDS_AFTER_TEXT, REGISTRY, TERMINAL_EVENTS, AnswerChunkAppended, MessageCreated
from chatledger.domain.message import Message

_TEXT = REGISTRY.of(AnswerChunkAppended).name


class VersionConflictError(Exception):
    """A stream has moved on since it was read; the command reloads and decides again."""


class NotUniqueError(Exception):
    """A guard does not hold: another hand-in took the same key first."""

    def __init__(self, guard: UniqueGuard) -> None:
        super().__init__(guard.index)
        self.guard = guard


class AlreadyRunningError(Exception):
    """A guard does not hold: an equal request is being answered."""

    def __init__(self, guard: RepeatGuard) -> None:
        super().__init__("an equal request is being answered")
        self.guard = guard


class KeyInUseError(Exception):
    """A guard does not hold: a message came with the same key before."""

    def __init__(self, guard: IdempotencyGuard) -> None:
        super().__init__("a message came with this key before")
        self.guard = guard


class NotIdleError(Exception):
    """A guard does not hold: too many messages of the conversation are unfinished."""

    def __init__(self, guard: IdleGuard) -> None:
        super().__init__(str(guard.conversation_id))
        self.guard = guard


class ReplayedBeforeError(Exception):
    """A guard does not hold: a message that replays the same one is unfinished or completed."""

    def __init__(self, guard: ReplayGuard) -> None:
        super().__init__(str(guard.message_id))
        self.guard = guard


class CeilingReachedError(Exception):
    """A guard does not hold: the app has as many unfinished messages as it may have."""

    def __init__(self, guard: CeilingGuard) -> None:
        super().__init__(str(guard.app_id))
        self.guard = guard


class NewEvent(msgspec.Struct, frozen=True):
    """An event on its way to the ledger."""

    recorded: Recorded[Any]
    category: Category
    event_id: UUID
    key_id: UUID | None


class HandIn(msgspec.Struct, frozen=True, kw_only=True):
    """What is committed whole or not at all.

    Attributes:
        events: may touch several streams; within one stream their versions continue what is stored. One alone that
            holds after text may continue what was stored before it: see :meth:`Admission.behind_text`.
        context: the metadata of all of them, or the position of the row that holds it already.
        expected: versions that further streams must have for the hand-in to hold.
        guards: what must be free, or below its ceiling.
        new_keys: data keys to make durable before the events that use them.
        changes: operational state to move along; never a source of truth.
        folded: messages as they stand after these events, where the caller has them at hand.
    """

    events: Sequence[NewEvent]
    context: Context | int
    expected: dict[UUID, int] = msgspec.field(default_factory=dict)
    guards: Sequence[Guard] = ()
    new_keys: Sequence[NewKey] = ()
    changes: Sequence[Change] = ()
    folded: dict[UUID, Message] = msgspec.field(default_factory=dict)


class Admission:
    """Decides under the ledger's lock which hand-ins of a group hold, each on top of those admitted before it."""

    def __init__(self, transaction: Transaction, recorded_at: int) -> None:
        self._transaction = transaction
        self._recorded_at = recorded_at
        self._stored: Mapping[UUID, StoredStream] = {}
        self._streams: dict[UUID, StoredStream] = {}  # with what was admitted
        self._last_others: dict[UUID, int] = {}  # by stream, the version of the last that was admitted and is no text
        self._taken: set[Guard] = set()
        self._begun: Counter[UUID] = Counter()  # by app and by conversation
        self._replayed: set[UUID] = set()

    def look_up(self, hand_ins: Iterable[HandIn]) -> None:
        """Find out at once what is on record of the streams that these touch."""
        touched = set()
        for hand_in in hand_ins:
            touched.update(event.recorded.originator_id for event in hand_in.events)
            touched.update(hand_in.expected)
        self._stored = self._transaction.streams(touched)
        self._streams = dict(self._stored)

    def behind_text(self, hand_in: HandIn) -> HandIn:
        """The same at the end of its stream, where it holds after text and nothing else has come since its decision."""
        if len(hand_in.events) != 1 or not isinstance(hand_in.events[0].recorded.body, HOLDS_AFTER_TEXT):
            return hand_in
        (event,) = hand_in.events
        stream_id, version = event.recorded.originator_id, event.recorded.originator_version
        last = self._streams.get(stream_id)
        if last is None or last.version < version or not self._is_only_text(stream_id, version):
            return hand_in
        recorded = msgspec.structs.replace(event.recorded, originator_version=last.version + 1)
        return msgspec.structs.replace(hand_in, events=[msgspec.structs.replace(event, recorded=recorded)])

    def _is_only_text(self, stream_id: UUID, first: int) -> bool:
        """Whether a stream has got nothing but text from this version on, stored or admitted."""
        if self._last_others.get(stream_id, 0) >= first:
            return False
        stored = self._stored.get(stream_id)
        if stored is None or stored.version < first:
            return True
        return all(row.name == _TEXT for row in self._transaction.read_stream(stream_id, first - 1))

    def admit(self, hand_in: HandIn) -> Exception | None:
        """What keeps a hand-in from being committed; None where it holds, and counts from here on."""
        objection = self._of_versions(hand_in) or self._of_guards(hand_in.guards)
        if objection is None:
            for event in hand_in.events:
                stream_id, version = event.recorded.originator_id, event.recorded.originator_version
                self._streams[stream_id] = StoredStream(version, event.key_id)
                if not isinstance(event.recorded.body, AnswerChunkAppended):
                    self._last_others[stream_id] = version
                self._count(event.recorded, hand_in)
            self._taken.update(hand_in.guards)
        return objection

    def _of_versions(self, hand_in: HandIn) -> Exception | None:
        versions: dict[UUID, int] = {}
        for event in hand_in.events:
            stream_id, version = event.recorded.originator_id, event.recorded.originator_version
            stored = self._streams.get(stream_id)
            if stream_id not in versions:
                versions[stream_id] = stored.version if stored else 0
            if version != versions[stream_id] + 1:
                return VersionConflictError(str(stream_id))
            if stored is not None and stored.key_id != event.key_id:
                return ValueError("a stream has one data key for life")
            versions[stream_id] = version
        for stream_id, expected in hand_in.expected.items():
            stored = self._streams.get(stream_id)
            if (stored.version if stored else 0) != expected:
                return VersionConflictError(str(stream_id))
        return None

    def _of_guards(self, guards: Iterable[Guard]) -> Exception | None:
        objections = (self._of_guard(guard) for guard in guards)
        return next((objection for objection in objections if objection is not None), None)

    def _of_guard(self, guard: Guard) -> Exception | None:
        stored = self._transaction
        match guard:
            case UniqueGuard():
                return None if guard not in self._taken and stored.holds(guard) else NotUniqueError(guard)
            case RepeatGuard():
                since = self._recorded_at - guard.window
                is_running = stored.is_running(guard.end_user_id, guard.fingerprint, since)
                return AlreadyRunningError(guard) if guard in self._taken or is_running else None
            case IdempotencyGuard():
                is_known = stored.is_known(guard.end_user_id, guard.key, self._recorded_at - guard.window)
                return KeyInUseError(guard) if guard in self._taken or is_known else None
            case IdleGuard():
                unfinished = stored.unfinished_in(guard.conversation_id) + self._begun[guard.conversation_id]
                return NotIdleError(guard) if unfinished > guard.most else None
            case ReplayGuard():
                is_replayed = guard.message_id in self._replayed or stored.is_replayed(guard.message_id)
                return ReplayedBeforeError(guard) if is_replayed else None
            case CeilingGuard():
                unfinished = stored.unfinished(guard.app_id) + self._begun[guard.app_id]
                return CeilingReachedError(guard) if unfinished >= guard.ceiling else None
            case _:
                assert_never(guard)

    def _count(self, recorded: Recorded[Any], hand_in: HandIn) -> None:
        """Take note of a message that begins or ends: the transaction's own count is of before this group."""
        body = recorded.body
        if isinstance(body, MessageCreated):
            self._begun.update((body.app_id, body.conversation_id))
            if body.replayed_from is not None:
                self._replayed.add(body.replayed_from)
        elif isinstance(body, TERMINAL_EVENTS) and (message := hand_in.folded.get(recorded.originator_id)):
            self._begun.subtract((message.created.app_id, message.created.conversation_id))
