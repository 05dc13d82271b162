"""Apps, what opens them, and what they have used."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from chatledger.adapters.persistence.tables import API_KEYS, APPS, OPERATOR_TOKENS, SITE_CODES, TOKEN_USAGE
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ledger.sealed_rows import AppConfigurationContent, AppName, OperatorName
from chatledger.application.ports.views import AppView, OperatorDetail, OperatorView
from chatledger.domain.configuration import AppConfiguration

_PREPARED = msgspec.json.Decoder(AppConfiguration)
"""It decodes nothing: it makes msgspec look at the type before there are threads, as two that do so at once crash."""


class SqlAppViews(SqlReading):
    """Apps and operators."""

    async def app(self, app_id: UUID) -> AppView | None:
        """One app."""
        query = sa.select(APPS).where(APPS.c.app_id == app_id)
        return await self._reader.query(lambda c: self._first_app(c.execute(query).first()))

    async def apps(self) -> list[AppView]:
        """All apps, oldest first."""
        query = sa.select(APPS).order_by(APPS.c.position)
        return await self._reader.query(lambda c: [self._app(row) for row in c.execute(query)])

    async def app_of_key(self, key_hash: str) -> UUID | None:
        """The app that a key opens."""
        query = sa.select(API_KEYS.c.app_id).where(API_KEYS.c.key_hash == key_hash)
        return await self._reader.query(lambda c: c.execute(query).scalar())

    async def app_of_site(self, code: str) -> UUID | None:
        """The app whose site has this code, or once had it."""
        query = sa.select(SITE_CODES.c.app_id).where(SITE_CODES.c.code == code)
        return await self._reader.query(lambda c: c.execute(query).scalar())

    async def operator_of_token(self, token_hash: str) -> OperatorView | None:
        """What an operator's token opens."""
        query = sa.select(OPERATOR_TOKENS).where(OPERATOR_TOKENS.c.token_hash == token_hash)
        row = await self._reader.query(lambda c: c.execute(query).first())
        return None if row is None else OperatorView(row.operator_id, frozenset(row.scopes.split(",")))

    async def operators(self) -> list[OperatorDetail]:
        """All whose tokens open something, oldest first. They are few."""
        query = sa.select(OPERATOR_TOKENS).order_by(OPERATOR_TOKENS.c.position)
        return await self._reader.query(lambda c: [self._operator(row) for row in c.execute(query)])

    def _operator(self, row: Any) -> OperatorDetail:
        return OperatorDetail(
            operator_id=row.operator_id,
            name=self._seals.open(row.key_id, OperatorName, row.content, row.operator_id).name,
            scopes=frozenset(row.scopes.split(",")),
            issued_at=row.created_at,
        )

    async def tokens_used(self, app_id: UUID, day: int) -> int:
        """What the answers of an app have cost, in tokens, on a day counted from 1970-01-01 in UTC."""
        table = TOKEN_USAGE.c
        query = sa.select(table.tokens).where(table.app_id == app_id, table.day == day)
        return await self._reader.query(lambda c: c.execute(query).scalar()) or 0

    def _first_app(self, row: Any) -> AppView | None:
        return None if row is None else self._app(row)

    def _app(self, row: Any) -> AppView:
        name = self._seals.open(row.key_id, AppName, row.name, row.app_id)
        content = self._seals.open(row.key_id, AppConfigurationContent, row.configuration, row.app_id)
        return AppView(
            app_id=row.app_id,
            mode=row.mode,
            name=name.name,
            key_id=row.key_id,
            created_at=row.created_at,
            status=row.status,
            site_code=row.site_code,
            configuration=msgspec.convert(content.configuration, AppConfiguration),
            retention_days=row.retention_days,
        )
