"""The key store: what is done to all of its keys at once."""

from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.events import KeyStoreEvent, MasterKeyRotated

KEY_STORE_ID = UUID("0198a000-0000-7000-8000-00000000ce55")
"""There is one for each ledger."""


class KeyStore(Aggregate[KeyStoreEvent]):
    """Whose master key is replaced from time to time."""

    def rotate_master_key(self, keys: int) -> None:
        """Put on record that so many keys are wrapped by a new master key."""
        self._record(MasterKeyRotated(keys))

    def apply(self, body: KeyStoreEvent) -> None:
        """Take an event in: nothing that is decided later rests on it."""
