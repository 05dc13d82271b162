"""An export as lines of JSON, each a CloudEvent: the first one tells what is exported, the last one that it is whole.

CloudEvents 1.0 in its JSON event format (cloudevents.io), one event a line (JSON Lines). A line between the first and
the last one is a row of the ledger, all of it: what its leaf binds is there byte for byte, so that leaves, and of a
whole ledger the tree, can be computed from the file.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import from_microseconds
from chatledger.application.ports.storage import LIBRARY, Algorithm, EventRow

FORMAT = 1

LONGEST_LINE = 256 * 1024 * 1024
"""Bytes. What reads lines has one of them in memory."""

_ABSENT = msgspec.Raw()

BEGUN: Literal["chatledger.export.begun"] = "chatledger.export.begun"
ENDED: Literal["chatledger.export.ended"] = "chatledger.export.ended"
BEGUN_LINE = f'{{"specversion":"1.0","type":"{BEGUN}"'.encode()
ENDED_LINE = f'{{"specversion":"1.0","type":"{ENDED}"'.encode()
"""How the first line begins and the last one, and no other does."""


class UnexportableError(Exception):
    """A row cannot be a line of an export; the text says which, and why."""


class ExportScope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of the ledger is exported: all of it, or what is an app's, a person's, or a conversation's."""

    app_id: UUID | None = None
    end_user_id: UUID | None = None
    conversation_id: UUID | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the ledger."""
        return self.app_id is None and self.end_user_id is None and self.conversation_id is None


class ExportBegun(msgspec.Struct, frozen=True, kw_only=True):
    """What the first line tells.

    Attributes:
        incarnation: of the ledger, by which it is told from its own copies.
        through: the last position that was looked at.
        events: how many lines of events follow.
    """

    format: int
    incarnation: UUID
    scope: ExportScope
    through: int
    events: int


class ExportEnded(msgspec.Struct, frozen=True, kw_only=True):
    """What the last line tells.

    Attributes:
        events: how many lines of events there are.
        root: of the Merkle tree of a whole ledger, up to the last event.
        checkpoint: the newest signed note about a tree of this ledger that is no longer than this one.
    """

    events: int
    root: bytes | None = None
    checkpoint: str | None = None


class ExportedRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row. Bytes are base64; ``public`` and ``context`` stand as they are, unless they are no JSON of one line."""

    position: int
    stream_id: UUID
    category: str
    version: int
    name: str
    schema: int
    recorded_at: int
    context_position: int
    algorithm: Algorithm
    leaf: bytes
    key_id: UUID | None = None
    sealed: bytes | None = None
    public: msgspec.Raw = _ABSENT
    public_base64: bytes | None = None
    context: msgspec.Raw = _ABSENT
    context_base64: bytes | None = None


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes of a CloudEvent, as far as an export has them."""

    specversion: Literal["1.0"] = "1.0"
    type: str
    id: UUID
    source: str
    subject: UUID
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"


class EventLine(_Line, frozen=True, kw_only=True):
    """The line of an event."""

    data: ExportedRow


class BegunLine(_Line, frozen=True, kw_only=True):
    """The first line."""

    type: Literal["chatledger.export.begun"] = BEGUN
    data: ExportBegun


class EndedLine(_Line, frozen=True, kw_only=True):
    """The last line."""

    type: Literal["chatledger.export.ended"] = ENDED
    data: ExportEnded


_encode = msgspec.json.Encoder().encode
_decode_event = msgspec.json.Decoder(EventLine).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


def source_of(incarnation: UUID) -> str:
    """The ``source`` of each line: with its ``id`` it names an event among those of all ledgers."""
    return incarnation.urn


def event_line(row: EventRow, source: str) -> bytes:
    """The line of a row, with its end.

    Raises:
        UnexportableError: it would be too long, or the row's time is no time.
    """
    public, context = _embedded(row.public), _embedded(row.context)
    exported = ExportedRow(
        position=row.position,
        stream_id=row.stream_id,
        category=row.category,
        version=row.version,
        name=row.name,
        schema=row.schema,
        recorded_at=row.recorded_at,
        context_position=row.context_position,
        algorithm=row.algorithm,
        leaf=row.leaf,
        key_id=row.key_id,
        sealed=row.sealed,
        public=public,
        public_base64=row.public if public is _ABSENT else None,
        context=context,
        context_base64=row.context if context is _ABSENT else None,
    )
    try:
        time = from_microseconds(row.recorded_at)
    except OverflowError as error:
        raise UnexportableError(f"the event at position {row.position} has an impossible time") from error
    is_library = row.category.startswith(LIBRARY)
    line = EventLine(
        type=f"{row.category if is_library else 'chatledger'}.{row.name}",
        id=row.event_id,
        source=source,
        subject=row.stream_id,
        time=time,
        data=exported,
    )
    encoded = _encode(line) + b"\n"
    if len(encoded) > LONGEST_LINE:
        raise UnexportableError(f"the event at position {row.position} has more than {LONGEST_LINE} bytes")
    return encoded


def _embedded(part: bytes | None) -> msgspec.Raw:
    """The part as JSON within a line, byte for byte; absent where it cannot stand there."""
    if part is None or b"\n" in part or b"\r" in part:
        return _ABSENT
    try:
        part.decode()
        return msgspec.Raw(part) if bytes(_decode_raw(part)) == part else _ABSENT
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _ABSENT


def row_of(line: bytes) -> tuple[EventRow, str]:
    """The row of a line, and the line's ``source``.

    Raises:
        msgspec.DecodeError: it is none.
        RecursionError: it is none, and nests too deeply to tell.
    """
    decoded = _decode_event(line)
    data = decoded.data
    public = bytes(data.public) if data.public_base64 is None else data.public_base64
    context = None if data.context is _ABSENT else bytes(data.context)
    row = EventRow(
        position=data.position,
        stream_id=data.stream_id,
        category=data.category,
        version=data.version,
        event_id=decoded.id,
        name=data.name,
        schema=data.schema,
        recorded_at=data.recorded_at,
        public=public,
        sealed=data.sealed,
        key_id=data.key_id,
        algorithm=data.algorithm,
        context_position=data.context_position,
        context=context if data.context_base64 is None else data.context_base64,
        leaf=data.leaf,
    )
    return row, decoded.source


def line_of(line: BegunLine | EndedLine) -> bytes:
    """The first or the last line, with its end."""
    return _encode(line) + b"\n"
