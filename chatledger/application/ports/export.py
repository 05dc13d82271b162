"""The ledger as it is exported: rows as they stand, of all streams or of some."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from chatledger.application.audit.export_lines import ExportScope
from chatledger.application.ports.storage import EventRow, Head


class ExportedLedger(Protocol):
    """Reads rows. Blocks. Each call sees a snapshot of its own, which is enough: no row ever changes or goes."""

    def incarnation(self) -> UUID:
        """What tells this ledger from its copies."""
        ...

    def head(self) -> Head:
        """Where it ends."""
        ...

    def log(self, after: int, limit: int) -> Sequence[EventRow]:
        """Rows in order of position."""
        ...

    def positions(self, scope: ExportScope, through: int) -> Sequence[int]:
        """Where the rows of a part of the ledger stand, up to a position, in order."""
        ...

    def rows_at(self, positions: Sequence[int]) -> Sequence[EventRow]:
        """The rows at these positions, in order of position."""
        ...

    def checkpoint(self, through: int) -> str | None:
        """The newest signed note about this ledger that covers no later event; None where there is none."""
        ...
