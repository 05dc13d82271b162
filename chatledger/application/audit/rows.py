"""The rows of a ledger, checked one by one as they are stored: each against its leaf, and against those before it."""

import hashlib
import struct
from array import array
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

import msgspec

from chatledger.application.audit.findings import FindingKind, Findings
from chatledger.application.audit.notes import NoteError, VerifierKey
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.audit import AuditedLedger, RawStream
from chatledger.application.ports.storage import ALGORITHMS, Category, EventRow, RawRow
from chatledger.domain.events import NotaryKeyIntroduced

NOTARY: Category = "notary"

Introduce = Callable[[int, VerifierKey], None]
"""Told of the position and the key, where the ledger introduces one that signs it."""

_decode_key = msgspec.json.Decoder(NotaryKeyIntroduced).decode

_FIXED = struct.Struct(">xQQIQQ")
"""The zero byte before a leaf, then what :func:`chatledger.application.ledger.leaf.canonical_form` begins with."""

_ABSENT = b"\xff\xff\xff\xff"

_UNREADABLE = (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError, struct.error)
"""What comes of columns that no writer has filled."""

MOST_STREAMS_AT_HAND = 20_000
MOST_VERSION = 2**32 - 1
MOST_MISSING = 1_000_000
"""So many events may be missing at once, and contexts are still found after them."""


class _Lengths(dict[int, bytes]):
    """Lengths as four bytes; those of most parts at hand."""

    def __missing__(self, length: int) -> bytes:
        return length.to_bytes(4, "big")


_LENGTHS = _Lengths((length, length.to_bytes(4, "big")) for length in range(4096))


class _Kinds(dict[tuple[int, int], tuple[int, bytes]]):
    """The schema, and the bytes of category, name and algorithm, by the numbers of type and algorithm."""

    def __init__(self, category: str, types: "_Types") -> None:
        super().__init__()
        self._category = category
        self._types = types

    def __missing__(self, numbers: tuple[int, int]) -> tuple[int, bytes]:
        kind, algorithm = numbers
        if algorithm < 0:
            raise IndexError(algorithm)
        name, schema = self._types.look_up(kind)
        texts = (self._category, name, ALGORITHMS[algorithm])
        found = self[numbers] = schema, b"".join(_part(text.encode()) for text in texts)
        return found


class _Types:
    """The event types of a ledger, and which of them were met."""

    def __init__(self, ledger: AuditedLedger) -> None:
        self.all = ledger.event_types()
        self.met: set[int] = set()

    def look_up(self, kind: int) -> tuple[str, int]:
        self.met.add(kind)
        return self.all[kind]


class _Stream(NamedTuple):
    """What the canonical forms of a stream's events share."""

    stream_id: bytes
    kinds: _Kinds
    key_part: bytes


class Seen(NamedTuple):
    """Where the rows that were checked end."""

    position: int
    recorded_at: int


class RowCheck:
    """Goes through all rows of a ledger in their order, page by page, and tells what is wrong with each.

    Memory: four bytes for each stream, one bit for each event, and a page.

    Attributes:
        seen: where the rows that were checked end.
        is_whole: whether none was missing so far, or out of its place.
    """

    def __init__(self, ledger: AuditedLedger, findings: Findings, introduce: Introduce) -> None:
        self._ledger = ledger
        self._findings = findings
        self._introduce = introduce
        self._notaries: set[int] = set()
        self._types = _Types(ledger)
        self._kinds: dict[str, _Kinds] = {}
        self._streams: dict[int, _Stream] = {}
        self._versions = array("I")
        self._holds_context = bytearray()
        self.seen = Seen(0, 0)
        self.is_whole = True

    def page(self, rows: Sequence[RawRow]) -> list[bytes]:
        """Check the next rows; their leaves, for the tree.

        Of a row that does not fit its leaf it is the stored one: whoever changed the row alone has left the tree as it
        was, and then the tree shows whether that is all.
        """
        numbers = {row[1] for row in rows}
        self._look_up(numbers)
        self._make_room(rows)
        streams, versions, holds_context = self._streams, self._versions, self._holds_context
        fixed, lengths, join, sha256 = _FIXED.pack, _LENGTHS, b"".join, hashlib.sha256
        last_position, last_at = self.seen
        last_place = 0
        leaves: list[bytes] = []
        for row in rows:
            position, stream, version, event_id, kind, at, public, sealed, algorithm, place, context, leaf = row
            try:
                stream_id, kinds, key_part = streams[stream]
                schema, kind_part = kinds[kind, algorithm]
                if sealed is None:
                    sealed, sealed_length = b"", _ABSENT
                else:
                    sealed_length = lengths[len(sealed)]
                if context is None:
                    context, context_length = b"", _ABSENT
                    is_sound = place == last_place or bool(holds_context[place >> 3] & 1 << (place & 7))
                else:
                    context_length = lengths[len(context)]
                    holds_context[position >> 3] |= 1 << (position & 7)
                    is_sound = place == position
                form = (
                    fixed(position, version, schema, at, place),
                    stream_id,
                    event_id,
                    kind_part,
                    lengths[len(public)],
                    public,
                    sealed_length,
                    sealed,
                    key_part,
                    context_length,
                    context,
                )
                if (
                    is_sound
                    and sha256(join(form)).digest() == leaf
                    and position == last_position + 1
                    and version == versions[stream] + 1
                    and at >= last_at
                ):
                    versions[stream] = version
                    last_position, last_at, last_place = position, at, place
                    leaves.append(leaf)
                    continue
            except _UNREADABLE:
                pass
            self.seen = Seen(last_position, last_at)
            self._examine(row)
            last_position, last_at = self.seen
            last_place = 0
            leaves.append(leaf if isinstance(leaf, bytes) else b"")
        self.seen = Seen(last_position, last_at)
        if not self._notaries.isdisjoint(numbers):
            self._find_keys(rows)
        return leaves

    def _find_keys(self, rows: Sequence[RawRow]) -> None:
        """What the notary's events introduce."""
        for position, stream, _, _, _, _, public, *_ in rows:
            if stream in self._notaries:
                try:
                    self._introduce(position, VerifierKey.parse(_decode_key(public).verifier_key))
                except (msgspec.DecodeError, NoteError):
                    self._tell("malformed", position, "the notary's key that it introduces is none")

    def _look_up(self, numbers: Collection[int]) -> None:
        """Have the streams of the next rows at hand."""
        if len(self._streams) + len(numbers) > MOST_STREAMS_AT_HAND:
            self._streams.clear()
        count = self._ledger.count_streams() + 1
        self._versions.frombytes(bytes(4 * (count - len(self._versions))))
        known = range(1, count)
        wanted = [number for number in numbers if number in known and number not in self._streams]
        for number, stream in self._ledger.streams(wanted).items():
            with suppress(*_UNREADABLE):
                self._streams[number] = self._stream(stream)
                if stream.category == NOTARY:
                    self._notaries.add(number)

    def _stream(self, stream: RawStream) -> _Stream:
        stream_id, category, key_id = stream
        kinds = self._kinds.get(category)
        if kinds is None:
            kinds = self._kinds[category] = _Kinds(category, self._types)
        # An id of another length is none.
        key_part = _ABSENT if key_id is None else _part(UUID(bytes=key_id).bytes)
        return _Stream(UUID(bytes=stream_id).bytes, kinds, key_part)

    def _make_room(self, rows: Sequence[RawRow]) -> None:
        """For positions as far on as these rows go, within reason: one may say that it is the last there can be."""
        most = self.seen.position + len(rows) + MOST_MISSING
        last = max((row[0] for row in rows if isinstance(row[0], int) and row[0] <= most), default=0)
        self._holds_context.extend(bytes(max(0, (last >> 3) + 1 - len(self._holds_context))))

    # What is wrong with a row

    def _examine(self, row: RawRow) -> None:
        """Say what is wrong with the row after the last one, and go on after it."""
        position, stream, version, _, kind, at, _, _, algorithm, place, context, leaf = row
        expected = self.seen.position + 1
        if not isinstance(position, int) or position < expected:
            self._tell("order", expected, f"here stands position {position!r}, which has no place after {expected - 1}")
            self.is_whole = False
            return
        if position > expected:
            gone = (
                f"position {expected} is" if position == expected + 1 else f"positions {expected} to {position - 1} are"
            )
            self._tell("missing", expected, f"{gone} missing")
            self.is_whole = False
        if stream not in self._streams:
            self._tell("stream", position, f"its stream, number {stream!r}, is not there, or unreadable")
        elif kind not in self._types.all:
            self._tell("event_type", position, f"its type, number {kind!r}, is not there")
        elif algorithm not in range(len(ALGORITHMS)):
            self._tell("malformed", position, f"there is no algorithm {algorithm!r}")
        else:
            try:
                is_changed = leaf_hash(self._event_row(row)) != leaf
            except _UNREADABLE:
                self._tell("malformed", position, "a column holds what no writer puts there")
            else:
                if is_changed:
                    self._tell("changed", position, "the row does not give its leaf: one of the two was changed")
        self._examine_version(position, stream, version)
        if not isinstance(at, int) or at < self.seen.recorded_at:
            self._tell("time", position, f"recorded at {at!r}, which is before the time of the event before it")
        else:
            self.seen = Seen(position, at)
        if not (place == position if context is not None else self._is_context(place)):
            self._tell("context", position, f"its context is said to be at {place!r}, where there is none")
        self.seen = Seen(position, self.seen.recorded_at)

    def _examine_version(self, position: int, stream: int, version: int) -> None:
        if stream not in self._streams:
            return
        expected = self._versions[stream] + 1
        if version != expected:
            self._tell("version", position, f"version {version!r} of its stream, where {expected} was to come")
        if version in range(MOST_VERSION + 1):
            self._versions[stream] = version

    def _is_context(self, place: int) -> bool:
        return place in range(8 * len(self._holds_context)) and bool(self._holds_context[place >> 3] & 1 << (place & 7))

    def _event_row(self, row: RawRow) -> EventRow:
        position, stream, version, event_id, kind, at, public, sealed, algorithm, place, context, _ = row
        name, schema = self._types.all[kind]
        stream_id, category, key_id = self._ledger.streams([stream])[stream]
        return EventRow(
            position=position,
            stream_id=UUID(bytes=stream_id),
            category=category,
            version=version,
            event_id=UUID(bytes=event_id),
            name=name,
            schema=schema,
            recorded_at=at,
            public=public,
            sealed=sealed,
            key_id=None if key_id is None else UUID(bytes=key_id),
            algorithm=ALGORITHMS[algorithm],
            context_position=place,
            context=context,
        )

    def _tell(self, kind: FindingKind, position: int, text: str) -> None:
        self._findings.add(kind, text, position)

    # What no row shows

    def finish(self) -> None:
        """After the last row: whether streams and types are those of events."""
        without = sum(1 for version in self._versions[1:] if not version)
        if without:
            self._findings.add("stream", f"{without:,} streams have no events")
        for number in sorted(self._types.all.keys() - self._types.met):
            self._findings.add("event_type", f"no event is of type number {number}, {self._types.all[number]}")


def _part(content: bytes) -> bytes:
    return _LENGTHS[len(content)] + content
