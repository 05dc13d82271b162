"""A projection as a host would write one, which keeps a row for each event that it was given."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from chatledger.application.ledger.envelope import Fact

METADATA = sa.MetaData()

# The position is no key: an event that is counted twice shows.
SEEN = sa.Table(
    "host_seen",
    METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("projection", sa.Text(), nullable=False),
    sa.Column("position", sa.BigInteger(), nullable=False),
    sa.Column("stream_id", sa.Uuid(), nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
)


class SeenEvents:
    def __init__(self, name: str = "seen", version: int = 1) -> None:
        self.name = name
        self.version = version
        self.check: Callable[[Fact], None] = lambda fact: None

    def prepare(self, connection: sa.Connection) -> None:
        METADATA.create_all(connection)

    def reset(self, connection: sa.Connection) -> None:
        connection.execute(sa.delete(SEEN).where(SEEN.c.projection == self.name))

    def project(self, connection: sa.Connection, facts: Sequence[Fact]) -> None:
        for fact in facts:
            envelope = fact.envelope
            row = {
                "projection": self.name,
                "position": envelope.position,
                "stream_id": envelope.stream_id,
                "version": envelope.version,
            }
            connection.execute(sa.insert(SEEN), row)
            self.check(fact)


def seen(name: str = "seen") -> sa.Select:
    """The events that count in it, in the order in which they came to."""
    columns = (SEEN.c.position, SEEN.c.stream_id, SEEN.c.version)
    return sa.select(*columns).where(SEEN.c.projection == name).order_by(SEEN.c.number)
