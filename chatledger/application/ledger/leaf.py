"""The leaf of one event in the ledger's Merkle tree."""

import hashlib
import struct

from chatledger.application.ports.storage import EventRow

_FIXED = struct.Struct(">QQIQQ")


def canonical_form(row: EventRow) -> bytes:
    """All of a row but its leaf, as bytes that no other row has.

    Five big-endian integers (position, version, schema, time, context position), the two 16-byte ids, then each of
    category, name, algorithm, public part, sealed part, key id and context as a 4-byte length and its bytes; an absent
    part has the length 0xFFFFFFFF and no bytes.
    """
    parts = [
        _FIXED.pack(row.position, row.version, row.schema, row.recorded_at, row.context_position),
        row.stream_id.bytes,
        row.event_id.bytes,
    ]
    key_id = row.key_id.bytes if row.key_id else None
    for part in (
        row.category.encode(),
        row.name.encode(),
        row.algorithm.encode(),
        row.public,
        row.sealed,
        key_id,
        row.context,
    ):
        if part is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            parts.append(len(part).to_bytes(4, "big"))
            parts.append(part)
    return b"".join(parts)


def leaf_hash(row: EventRow) -> bytes:
    """SHA-256 over a zero byte and the canonical form (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + canonical_form(row)).digest()
