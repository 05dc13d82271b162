"""What recorders of the ``eventsourcing`` library ask of the tables."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from eventsourcing.persistence import ProgrammingError

from chatledger.adapters.persistence.tables import CompactUuid, Position

LEDGER = sa.table(
    "ledger",
    sa.column("position", Position),
    sa.column("stream_id", CompactUuid()),
    sa.column("category", sa.Text()),
    sa.column("version", Position),
    sa.column("event_id", CompactUuid()),
    sa.column("name", sa.Text()),
    sa.column("schema", Position),
    sa.column("recorded_at", Position),
    sa.column("public", sa.LargeBinary()),
    sa.column("sealed", sa.LargeBinary()),
    sa.column("key_id", CompactUuid()),
)


def stream_id_of(originator_id: UUID | str) -> UUID:
    """The stream of an aggregate.

    Raises:
        ProgrammingError: it is not named by a UUID.
    """
    if not isinstance(originator_id, UUID):
        raise ProgrammingError(f"the ledger names its streams by UUIDs, not by {originator_id!r}")
    return originator_id


def of_stream(
    query: sa.Select[Any], originator_id: UUID | str, gt: int | None, lte: int | None, *, desc: bool, limit: int | None
) -> sa.Select[Any]:
    """Those rows that are of one stream, from one version to another, in order of version.

    Raises:
        ProgrammingError: the stream is not named by a UUID.
    """
    column = query.selected_columns
    query = query.where(column.stream_id == stream_id_of(originator_id))
    if gt is not None:
        query = query.where(column.version > gt)
    if lte is not None:
        query = query.where(column.version <= lte)
    return query.order_by(column.version.desc() if desc else column.version).limit(limit)


def between(
    query: sa.Select[Any],
    position: sa.ColumnElement[int],
    start: int | None,
    stop: int | None,
    *,
    inclusive_of_start: bool,
) -> sa.Select[Any]:
    """Those rows whose position is from ``start`` to ``stop``."""
    if start is not None:
        query = query.where(position >= start if inclusive_of_start else position > start)
    if stop is not None:
        query = query.where(position <= stop)
    return query


def in_order(query: sa.Select[Any], topics: Sequence[str], limit: int) -> sa.Select[Any]:
    """The first of those rows in order of position, of some topics or of all."""
    if topics:
        query = query.where(LEDGER.c.name.in_(topics))
    return query.order_by(LEDGER.c.position).limit(limit)
