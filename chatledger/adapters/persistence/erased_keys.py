"""The keys that the ledger says are destroyed, in the order in which that was put on record."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.errors import storage_errors
from chatledger.adapters.persistence.tables import ERASED_KEYS, EVENT_TYPES, EVENTS, STREAMS
from chatledger.adapters.persistence.transaction import SqlTransaction
from chatledger.domain.events import REGISTRY, ConversationErased, EndUserErased, FileErased

_ERASURES = [REGISTRY.of(body).name for body in (ConversationErased, FileErased, EndUserErased)]

_OF_READ_MODEL = sa.select(ERASED_KEYS.c.position, ERASED_KEYS.c.key_id)
_OF_EVENTS = (
    sa.select(EVENTS.c.position, STREAMS.c.key_id)
    .join(STREAMS, STREAMS.c.number == EVENTS.c.stream)
    .where(STREAMS.c.key_id.is_not(None))
    .where(EVENTS.c.type.in_(sa.select(EVENT_TYPES.c.number).where(EVENT_TYPES.c.name.in_(_ERASURES))))
)


class ErasedKeys:
    """Read from the read model; or from the events themselves, where it is of another version, behind or in doubt.

    Each read is a transaction of its own: whoever destroys keys in between may take long, and no erasure is put on
    record at an earlier position.
    """

    def __init__(self, engine: sa.Engine, *, from_events: bool = False) -> None:
        self._engine = engine
        self._from_events = from_events

    def head(self) -> int:
        """The last position of the ledger."""
        with storage_errors(), self._engine.begin() as connection:
            return SqlTransaction(connection).position()

    def page(self, after: int, limit: int) -> Sequence[tuple[int, UUID]]:
        """The position of each erasure beyond one, and the key that it destroyed."""
        with storage_errors(), self._engine.begin() as connection:
            query, position = (
                (_OF_EVENTS, EVENTS.c.position)
                if self._from_events or SqlTransaction(connection).lags_behind()
                else (_OF_READ_MODEL, ERASED_KEYS.c.position)
            )
            found = connection.execute(query.where(position > after).order_by(position).limit(limit))
            return [(erased_at, key_id) for erased_at, key_id in found]
