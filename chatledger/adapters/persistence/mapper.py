"""The mapper of the ``eventsourcing`` library for chatledger's own events."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent

from chatledger.adapters.persistence.ledger_recorder import SealedState
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Envelope, to_microseconds
from chatledger.application.ports.clock import Clock, IdFactory
from chatledger.application.ports.storage import EventRow
from chatledger.domain.aggregate import Recorded

_decode_state = msgspec.json.Decoder(SealedState).decode


class LedgerMapper(Mapper[UUID]):
    """Takes chatledger's events to the library's stored events and back, sealed as on the ledger.

    For two kinds of users: an application built on the library that follows chatledger's ledger with
    :class:`~chatledger.adapters.persistence.ledger_recorder.LedgerRecorder`, or that keeps chatledger's aggregates in a
    store of its own, be it in memory. chatledger's own writes do not pass through here.

    Args:
        key_of: the data key of a stream, made by then; None for a stream without sealed fields.
    """

    def __init__(
        self, codec: EventCodec, clock: Clock, new_id: IdFactory, key_of: Callable[[UUID], UUID | None]
    ) -> None:
        super().__init__(JSONTranscoder())
        self._codec = codec
        self._clock = clock
        self._new_id = new_id
        self._key_of = key_of

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """What an aggregate recorded, as it is stored; an envelope from elsewhere keeps its id, time and key.

        Raises:
            KeyDestroyedError: the stream's key is gone.
            ValueError: the event has sealed fields and its stream no key.
        """
        match domain_event:
            case Envelope():
                event_id, recorded_at = domain_event.event_id, domain_event.recorded_at
                key_id = domain_event.key_id
            case Recorded():
                event_id, recorded_at = self._new_id(), to_microseconds(self._clock.now())
                key_id = self._key_of(domain_event.originator_id)
            case _:
                raise TypeError(f"{type(domain_event).__name__} is not an event of chatledger")
        stream_id, version = domain_event.originator_id, domain_event.originator_version
        body = self._codec.encode(domain_event.body, stream_id, event_id, key_id)
        state = SealedState(event_id, recorded_at, body.schema, msgspec.Raw(body.public), body.sealed, key_id)
        return StoredEvent(stream_id, version, body.name, msgspec.json.encode(state))

    def to_domain_event(self, stored_event: StoredEvent) -> Envelope:
        """The event in its envelope; its position is that of the notification, and 0 without one.

        Raises:
            KeyDestroyedError: the key that sealed it is gone.
            UnknownEventError: this release does not know its type or schema.
        """
        state = _decode_state(stored_event.state)
        row = EventRow(
            position=getattr(stored_event, "id", 0),
            stream_id=UUID(str(stored_event.originator_id)),
            category="library",
            version=stored_event.originator_version,
            event_id=state.event_id,
            name=stored_event.topic,
            schema=state.schema,
            recorded_at=state.recorded_at,
            public=bytes(state.public),
            sealed=state.sealed,
            key_id=state.key_id,
            algorithm="none" if state.sealed is None else "aes-256-gcm",
            context_position=0,
            context=None,
        )
        return self._codec.decode(row)
