"""Replaying the ledger into read models: to make them anew, or to prove that the live ones are right."""

import sys
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

from chatledger.application.ledger.codec import EventCodec, StoredBody
from chatledger.application.ledger.projected.messages import CHANGES_NOTHING
from chatledger.application.ledger.projections import InlineProjections
from chatledger.application.ports.storage import LAST_POSITION, LIBRARY, Change, EventRow, RawRows, Transaction
from chatledger.domain.events import MessageCreated, MessageEvent
from chatledger.domain.message import Message

PAGE = 1_000
"""Events that are in memory at a time, sealed."""

Progress = Callable[[int, int], None]
"""Told of the positions done and of the positions in all."""


class Replay:
    """From the events of a ledger, in order, to what they change, in memory that the running messages bound.

    Most events are pieces of answers: they change nothing, and those of one message are opened and folded together.

    Events that this release does not know, by their names or schemas, are passed over: a newer one wrote them, and has
    read models of its own for them.

    Attributes:
        position: of the last event that was read; what comes after it is read next.
    """

    def __init__(self, codec: EventCodec, projections: InlineProjections, position: int = 0) -> None:
        self._codec = codec
        self._projections = projections
        self._running: dict[int, _Running] = {}
        self.position = position

    def read_on(self, source: Transaction, limit: int, most_bytes: int = sys.maxsize) -> Sequence[Change]:
        """What the next events change, ``limit`` of them at most. At the end of the ledger the position stays.

        No more are read once the bodies of those that were are ``most_bytes`` long, as they are stored.
        """
        changes: list[Change] = []
        while limit > 0 and most_bytes > 0:
            log = source.read_raw_log(self.position, min(limit, PAGE))
            if not log.rows:
                break
            changes += self._changes(log, source)
            self.position = log.rows[-1][0]
            most_bytes -= sum(len(row[6]) + len(row[7] or b"") for row in log.rows)
            limit -= len(log.rows)
        return changes

    def pages(self, source: Transaction, last: int = LAST_POSITION) -> Iterator[Sequence[Change]]:
        """What all further events change, up to a position, page by page."""
        before = -1
        while before != self.position < last:
            before = self.position
            yield self.read_on(source, min(PAGE, last - before))

    def _changes(self, log: RawRows, source: Transaction) -> Sequence[Change]:
        changes: list[Change] = []
        pieces = {number: kind for number, kind in log.types.items() if self._codec.kind_of(*kind) in CHANGES_NOTHING}
        running, piece_of = self._running, pieces.get
        for row in log.rows:
            stream, kind = row[1], piece_of(row[4])
            if kind is None:
                changes += self._changes_of(log.event(row), stream, source)
            elif stream in running:
                running[stream].unopened.append((*kind, row[3], row[6], row[7]))
        return changes

    def _changes_of(self, row: EventRow, stream: int, source: Transaction) -> Sequence[Change]:
        if row.category.startswith(LIBRARY) or not self._codec.knows(row):
            return ()
        envelope = self._codec.decode_or_erased(row)
        body = envelope.body
        if isinstance(body, MessageCreated):
            self._running[stream] = _Running(row.stream_id, row.key_id)
        running = self._running.get(stream)
        if running is None or not isinstance(body, MessageEvent):
            return self._projections.changes(envelope, lambda: self._as_stored(row, source))
        message = running.fold_on(self._codec, body)
        if message.has_ended:
            del self._running[stream]
        return self._projections.changes(envelope, lambda: message)

    def _as_stored(self, row: EventRow, source: Transaction) -> Message:
        known = [stored for stored in source.read_stream(row.stream_id) if self._codec.knows(stored)]
        return self._codec.message(known, row.version)


class _Running:
    """A message without its terminal event, and the pieces of its answer that nobody has asked for yet."""

    __slots__ = ("_key_id", "_message", "unopened")

    def __init__(self, message_id: UUID, key_id: UUID | None) -> None:
        self._message = Message(message_id)
        self._key_id = key_id
        self.unopened: list[StoredBody] = []

    def fold_on(self, codec: EventCodec, body: MessageEvent) -> Message:
        """The message after these pieces, and after this event."""
        pieces = codec.bodies_or_erased(self._message.id, self._key_id, self.unopened)
        self.unopened.clear()
        self._message.fold_on(piece for piece in pieces if isinstance(piece, CHANGES_NOTHING))
        return self._message.fold_on((body,))
