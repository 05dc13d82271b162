"""Replaying the ledger into read models: to make them anew, or to prove that the live ones are right."""

from collections.abc import Callable, Sequence
from uuid import UUID

from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.projections import READ_MODELS, Projections
from chatledger.application.ports.storage import LIBRARY, Change, Transaction
from chatledger.domain.events import MessageCreated, MessageEvent
from chatledger.domain.message import Message

PAGE = 1_000

Progress = Callable[[int, int], None]
"""Told of the positions done and of the positions in all."""


class Replay:
    """Feeds every event of a ledger to the projections, page by page, in memory that the running messages bound.

    Attributes:
        position: of the last event that was read.
    """

    def __init__(self, codec: EventCodec, projections: Projections) -> None:
        self._codec = codec
        self._projections = projections
        self._running: dict[UUID, Message] = {}
        self.position = 0

    def read_on(self, source: Transaction, limit: int) -> Sequence[Change]:
        """What the next events change, ``limit`` of them at most. At the end of the ledger the position stays."""
        changes: list[Change] = []
        for row in source.read_log(self.position, limit):
            self.position = row.position
            if row.category.startswith(LIBRARY):
                continue
            envelope = self._codec.decode_or_erased(row)
            self._follow(envelope)
            changes += self._projections.changes(envelope, self._folded(envelope, source))
            self._let_go(envelope)
        return changes

    def run(self, source: Transaction, target: Transaction, progress: Progress) -> int:
        """Empty the read models of ``target`` and fill them from the ledger of ``source``; the positions replayed."""
        target.clear(READ_MODELS)
        last, before = source.head().position, -1
        while before != self.position < last:
            before = self.position
            target.apply(self.read_on(source, PAGE))
            progress(self.position, last)
        return self.position

    def _follow(self, envelope: Envelope) -> None:
        body = envelope.body
        if isinstance(body, MessageCreated):
            self._running[envelope.stream_id] = Message(envelope.stream_id)
        if isinstance(body, MessageEvent) and envelope.stream_id in self._running:
            self._running[envelope.stream_id].fold_on([body])

    def _let_go(self, envelope: Envelope) -> None:
        message = self._running.get(envelope.stream_id)
        if message is not None and message.has_ended:
            del self._running[envelope.stream_id]

    def _folded(self, envelope: Envelope, source: Transaction) -> Callable[[], Message]:
        def folded() -> Message:
            message = self._running.get(envelope.stream_id)
            if message is not None:
                return message
            return self._codec.message(source.read_stream(envelope.stream_id), envelope.version)

        return folded
