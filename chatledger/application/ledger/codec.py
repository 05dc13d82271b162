"""Events to stored parts and back: public fields as JSON, sealed fields under the stream's key."""

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, TypeAlias, get_type_hints
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.keys import DataKey, DataKeys, KeyDestroyedError
from chatledger.application.ports.storage import EventRow
from chatledger.domain.events import REGISTRY, Event, MessageEvent
from chatledger.domain.message import Message
from chatledger.domain.registry import EventRegistry, EventType, UnknownEventError
from chatledger.domain.visibility import visibilities

StoredBody: TypeAlias = tuple[str, int, bytes, bytes, bytes | None]
"""What an event's body is read from: name, schema, event id, public and sealed part."""


class EncodedBody(msgspec.Struct, frozen=True):
    """The stored parts of one event that do not depend on its place in the ledger."""

    name: str
    schema: int
    public: bytes
    sealed: bytes | None


class _TypeCodec:
    """How one event type is written and read."""

    def __init__(self, event_type: EventType) -> None:
        declared = visibilities(event_type.body)
        self.event_type = event_type
        self.public = tuple(name for name, visibility in declared.items() if visibility == "public")
        self.sealed = tuple(name for name, visibility in declared.items() if visibility == "sealed")
        self._decoder = msgspec.json.Decoder(event_type.body)

    def decode(self, schema: int, public: bytes, sealed: bytes | None) -> Any:
        if schema == self.event_type.schema:
            return self._decoder.decode(_merge(public, sealed))
        fields = msgspec.json.decode(_merge(public, sealed))
        return msgspec.convert(self.event_type.upcast(schema, fields), self.event_type.body)

    def decode_erased(self, schema: int, public: bytes) -> Any:
        fields = self.event_type.upcast(schema, msgspec.json.decode(public))
        return msgspec.convert(fields | self._empty, self.event_type.body)

    @cached_property
    def _empty(self) -> dict[str, Any]:
        hints = get_type_hints(self.event_type.body)
        return {name: _empty_value(hints[name]) for name in self.sealed}


_EMPTY_VALUES: tuple[Any, ...] = (None, "", {}, [])


def _empty_value(kind: Any) -> Any:
    """What is left of a sealed field when its key is gone: null where that is allowed, else the empty value."""
    for value in _EMPTY_VALUES:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            continue
        return value
    raise TypeError(f"{kind} has no empty value")


def _merge(public: bytes, sealed: bytes | None) -> bytes:
    """One JSON object of two, without parsing either."""
    if sealed is None:
        return public
    if public == b"{}":
        return sealed
    return public[:-1] + b"," + sealed[1:]


def _stored_body(row: EventRow) -> StoredBody:
    return row.name, row.schema, row.event_id.bytes, row.public, row.sealed


def _envelope(row: EventRow, body: Event, *, is_erased: bool = False) -> Envelope:
    return Envelope(
        row.position,
        row.stream_id,
        row.category,
        row.version,
        row.event_id,
        row.recorded_at,
        row.context_position,
        row.key_id,
        body,
        is_erased,
    )


def associated_data(stream_id: UUID, event_id: UUID, name: str, schema: int) -> bytes:
    """What binds a sealed part to its event. The position is not known yet when it is sealed; the leaf binds that."""
    return _associated_data(stream_id.bytes, event_id.bytes, name, schema)


def _associated_data(stream_id: bytes, event_id: bytes, name: str, schema: int) -> bytes:
    return stream_id + event_id + _kind(name, schema)


@cache
def _kind(name: str, schema: int) -> bytes:
    return schema.to_bytes(4, "big") + name.encode()


class EventCodec:
    """Writes and reads event bodies. ``decode`` may block where a key has to be fetched."""

    def __init__(self, keyring: DataKeys, registry: EventRegistry = REGISTRY) -> None:
        self._keyring = keyring
        self._by_body = {event_type.body: _TypeCodec(event_type) for event_type in registry}
        self._by_name = {event_type.name: self._by_body[event_type.body] for event_type in registry}
        self._encode = msgspec.json.Encoder().encode

    def encode(self, body: Event, stream_id: UUID, event_id: UUID, key_id: UUID | None) -> EncodedBody:
        """The stored parts of an event.

        Raises:
            KeyDestroyedError: the stream's key is gone.
            ValueError: the type has sealed fields and the stream has no key.
        """
        codec = self._by_body[type(body)]
        event_type = codec.event_type
        public = self._encode({name: getattr(body, name) for name in codec.public})
        if not codec.sealed:
            return EncodedBody(event_type.name, event_type.schema, public, None)
        if key_id is None:
            raise ValueError(f"{event_type.name} has sealed fields and its stream has no key")
        plaintext = self._encode({name: getattr(body, name) for name in codec.sealed})
        associated = associated_data(stream_id, event_id, event_type.name, event_type.schema)
        sealed = self._keyring.key(key_id).seal(plaintext, associated)
        return EncodedBody(event_type.name, event_type.schema, public, sealed)

    def knows(self, row: EventRow) -> bool:
        """Whether this release knows an event's type and schema."""
        return self.kind_of(row.name, row.schema) is not None

    def kind_of(self, name: str, schema: int) -> type[msgspec.Struct] | None:
        """The type of events that are stored so; None where this release does not know it."""
        codec = self._by_name.get(name)
        return codec.event_type.body if codec is not None and 1 <= schema <= codec.event_type.schema else None

    def decode(self, row: EventRow) -> Envelope:
        """The event of a row, upcast to the newest schema of its type.

        Raises:
            KeyDestroyedError: the key that sealed it is gone.
            UnknownEventError: this release does not know its type or schema.
        """
        return self._decode(row, self._key_of(row))

    def decode_or_erased(self, row: EventRow) -> Envelope:
        """:meth:`decode`, but where the key is gone: then the body has its public fields, and empty sealed ones.

        Raises:
            UnknownEventError: this release does not know its type or schema.
        """
        try:
            return self.decode(row)
        except KeyDestroyedError:
            return _envelope(row, self._erased_body(_stored_body(row)), is_erased=True)

    def decode_all_or_erased(self, rows: Sequence[EventRow]) -> list[Envelope]:
        """:meth:`decode_or_erased` for each row."""
        return [self.decode_or_erased(row) for row in rows]

    def decode_known(self, rows: Sequence[EventRow]) -> list[Envelope]:
        """:meth:`decode_or_erased` for each row that this release knows: a newer one may have written others."""
        return [self.decode_or_erased(row) for row in rows if self.knows(row)]

    def bodies_or_erased(self, stream_id: UUID, key_id: UUID | None, stored: Sequence[StoredBody]) -> list[Event]:
        """Events of one stream, without their envelopes; empty where sealed as in :meth:`decode_or_erased`.

        Raises:
            UnknownEventError: this release does not know an event's type or schema.
        """
        raw_id, is_sealed = stream_id.bytes, any(each[-1] is not None for each in stored)
        try:
            key = self._keyring.key(key_id) if is_sealed and key_id is not None else None
            return [self._body(raw_id, key, each) for each in stored]
        except KeyDestroyedError:
            return [self._body(raw_id, None, each) if each[-1] is None else self._erased_body(each) for each in stored]

    def _key_of(self, row: EventRow) -> DataKey | None:
        return None if row.sealed is None or row.key_id is None else self._keyring.key(row.key_id)

    def _type_of(self, name: str) -> _TypeCodec:
        codec = self._by_name.get(name)
        if codec is None:
            raise UnknownEventError(name)
        return codec

    def _decode(self, row: EventRow, key: DataKey | None) -> Envelope:
        return _envelope(row, self._body(row.stream_id.bytes, key, _stored_body(row)))

    def _body(self, stream_id: bytes, key: DataKey | None, stored: StoredBody) -> Event:
        name, schema, event_id, public, sealed = stored
        codec = self._type_of(name)
        plaintext = None
        if sealed is not None and key is not None:
            plaintext = key.open(sealed, _associated_data(stream_id, event_id, name, schema))
        body: Event = codec.decode(schema, public, plaintext)
        return body

    def _erased_body(self, stored: StoredBody) -> Event:
        name, schema, _, public, _ = stored
        body: Event = self._type_of(name).decode_erased(schema, public)
        return body

    def message(self, rows: Sequence[EventRow], version: int) -> Message:
        """The message of a stream as it stood at a version."""
        first, stored = rows[0], [_stored_body(row) for row in rows if row.version <= version]
        bodies = self.bodies_or_erased(first.stream_id, first.key_id, stored)
        return Message.fold(first.stream_id, (body for body in bodies if isinstance(body, MessageEvent)))

    def decode_all(self, rows: Sequence[EventRow]) -> list[Envelope]:
        """:meth:`decode` for each row. Rows that follow each other mostly share a key: it is sought once."""
        envelopes = []
        key_id, key = None, None
        for row in rows:
            if row.sealed is not None and row.key_id is not key_id and row.key_id != key_id:
                key_id, key = row.key_id, self._key_of(row)
            envelopes.append(self._decode(row, key))
        return envelopes
