"""The notary: who signs the ledger's checkpoints."""

from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.events import NotaryEvent, NotaryKeyIntroduced

NOTARY_ID = UUID("0198a000-0000-7000-8000-0000000a07a2")
"""There is one for each ledger."""


class Notary(Aggregate[NotaryEvent]):
    """Its keys, so that whoever trusts one of them finds the next in what that one has signed.

    Attributes:
        verifier_keys: all that were ever introduced, oldest first; the last one signs.
    """

    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.verifier_keys: list[str] = []

    def introduce_key(self, verifier_key: str) -> None:
        """Sign with this key from here on. The one that signs already is no fact."""
        if verifier_key not in self.verifier_keys[-1:]:
            self._record(NotaryKeyIntroduced(verifier_key))

    def apply(self, body: NotaryEvent) -> None:
        """Fold one event into the state."""
        self.verifier_keys.append(body.verifier_key)
