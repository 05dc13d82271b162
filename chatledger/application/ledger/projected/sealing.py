"""The sealed columns of projected rows, and what is left of them."""

from typing import Any

import msgspec

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import Change, Insert

NOTHING_LEFT = b""
"""What a sealed column holds once its key is destroyed."""


class Sealing:
    """Seals what a row has of an event. Where the key is destroyed, nothing is left of it, then as ever after."""

    def __init__(self, seals: RowSeals) -> None:
        self._seals = seals

    def seal(self, envelope: Envelope, content: msgspec.Struct, *place: Any) -> bytes:
        """The column's bytes."""
        try:
            return self._seals.seal(envelope.key_id, content, *place)
        except KeyDestroyedError:
            return NOTHING_LEFT


def key_erased(envelope: Envelope) -> Change:
    """The key of the event's stream is destroyed for good."""
    return Insert("erased_keys", {"key_id": envelope.key_id, "position": envelope.position})
