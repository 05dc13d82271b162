"""The endpoints of webhooks."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import WEBHOOKS
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import WebhookSecrets, WebhookUrl
from chatledger.application.ports.webhooks import Endpoint


class SqlEndpointViews(SqlReading):
    """The endpoints that there are."""

    async def endpoints(self) -> Sequence[Endpoint]:
        """All of them, the first that was registered first."""
        query = sa.select(WEBHOOKS).order_by(WEBHOOKS.c.position)
        return await self._reader.query(lambda c: [self._endpoint(row) for row in c.execute(query)])

    async def endpoint(self, endpoint_id: UUID) -> Endpoint | None:
        """One of them."""
        query = sa.select(WEBHOOKS).where(WEBHOOKS.c.endpoint_id == endpoint_id)

        def read(connection: sa.Connection) -> Endpoint | None:
            row = connection.execute(query).first()
            return None if row is None else self._endpoint(row)

        return await self._reader.query(read)

    def _endpoint(self, row: Any) -> Endpoint:
        secrets = self._seals.open(row.key_id, WebhookSecrets, row.secrets, row.endpoint_id)
        return Endpoint(
            endpoint_id=row.endpoint_id,
            app_id=row.app_id,
            types=frozenset(row.types.split(",")) if row.types else frozenset(),
            after=row.after,
            created_at=row.created_at,
            disabled_for=row.disabled_for,
            url=self._seals.open(row.key_id, WebhookUrl, row.url, row.endpoint_id).url,
            secret=secrets.secret,
            previous=secrets.previous,
            previous_until=secrets.previous_until,
        )
