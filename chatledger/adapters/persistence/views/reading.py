"""What every part of the views reads with."""

from chatledger.adapters.persistence.store import Reader
from chatledger.application.ledger.sealed_rows import RowSeals


class SqlReading:
    """Queries run in the reading threads, and open the sealed columns there."""

    def __init__(self, reader: Reader, seals: RowSeals) -> None:
        self._reader = reader
        self._seals = seals
