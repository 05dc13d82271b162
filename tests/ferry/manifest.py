"""The ferry's manifest in SQL, beside the ledger."""

from uuid import UUID

import sqlalchemy as sa
from eventsourcing.persistence import Tracking

from chatledger.adapters.persistence.recorder import SqlTrackingRecorder
from tests.ferry.line import ManifestView


class SqlManifest(SqlTrackingRecorder, ManifestView):
    tables = sa.MetaData()
    entries = sa.Table(
        "ferry_manifest",
        tables,
        # Not unique: whoever is projected twice stands there twice.
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("crossing_id", sa.Uuid(), nullable=False),
        sa.Column("passenger", sa.Text(), nullable=False),
    )

    def add(self, crossing_id: UUID, passenger: str, tracking: Tracking) -> None:
        with self.writing(tracking) as connection:
            connection.execute(self.entries.insert().values(crossing_id=crossing_id, passenger=passenger))

    def passengers(self, crossing_id: UUID) -> list[str]:
        entry = self.entries.c
        query = sa.select(entry.passenger).where(entry.crossing_id == crossing_id).order_by(entry.number)
        with self.reading() as connection:
            return list(connection.execute(query).scalars())
