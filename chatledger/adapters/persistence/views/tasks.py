"""Answers under way."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import CONVERSATIONS, LEASES, MESSAGES
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ports.views import KnownRequest, UnfinishedTask

_LIVING_LEASE = LEASES.c.message_id == MESSAGES.c.message_id
_TASK = (
    MESSAGES.c.task_id,
    MESSAGES.c.message_id,
    MESSAGES.c.conversation_id,
    MESSAGES.c.mode,
    MESSAGES.c.state,
    MESSAGES.c.attempt,
)


class SqlTaskViews(SqlReading):
    """What recovery, stopping and joining find."""

    async def running_request(self, end_user_id: UUID, fingerprint: str) -> UUID | None:
        """The newest message of a person that answers a request with this fingerprint: no ended or stopping one."""
        table = MESSAGES.c
        query = (
            sa.select(table.message_id)
            .where(
                table.fingerprint == fingerprint,
                table.end_user_id == end_user_id,
                table.ended_position.is_(None),
                table.state != "stopping",
            )
            .order_by(table.position.desc())
            .limit(1)
        )
        return await self._reader.query(lambda c: c.execute(query).scalar())

    async def message_of_key(self, end_user_id: UUID, idempotency_key: str, since: int) -> KnownRequest | None:
        """The newest message of a person, of this time in microseconds or later, that came with this key."""
        table = MESSAGES.c
        query = (
            sa.select(table.message_id, table.fingerprint)
            .where(
                table.idempotency_key == idempotency_key,
                table.end_user_id == end_user_id,
                table.created_at >= since,
            )
            .order_by(table.position.desc())
            .limit(1)
        )
        found = await self._reader.query(lambda c: c.execute(query).first())
        return None if found is None else KnownRequest(found.message_id, found.fingerprint)

    async def unseen(self, limit: int) -> list[UUID]:
        """Messages of deleted conversations whose answers nobody has asked to end, oldest first."""
        table = MESSAGES.c
        living = sa.exists().where(CONVERSATIONS.c.conversation_id == table.conversation_id)
        query = (
            sa.select(table.message_id)
            .where(table.ended_position.is_(None), table.state != "stopping", sa.not_(living))
            .order_by(table.position)
            .limit(limit)
        )
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def unclaimed(self, now: int, limit: int) -> list[UnfinishedTask]:
        """Tasks that are due and that no worker holds a living lease on, at this time in microseconds."""
        table = MESSAGES.c
        due = sa.or_(table.not_before.is_(None), table.not_before <= now)
        query = (
            sa.select(*_TASK)
            .where(table.ended_position.is_(None), due, _nobody_holds(now))
            .order_by(table.position)
            .limit(limit)
        )
        return await self._reader.query(lambda c: [_task(row) for row in c.execute(query)])

    async def overdue(self, began_before: int, now: int, limit: int) -> list[UUID]:
        """Messages whose generation began before a time, and that no worker holds a living lease on at another one."""
        table = MESSAGES.c
        query = (
            sa.select(table.message_id)
            .where(table.ended_position.is_(None), table.started_at <= began_before, _nobody_holds(now))
            .order_by(table.position)
            .limit(limit)
        )
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def generation_began(self, message_id: UUID) -> int | None:
        """When the first attempt at a message started, in microseconds; None before that."""
        query = sa.select(MESSAGES.c.started_at).where(MESSAGES.c.message_id == message_id)
        return await self._reader.query(lambda c: c.execute(query).scalar())

    async def abandoned_attempt(self, message_id: UUID, now: int) -> int | None:
        """The attempt at an unfinished message that no worker holds a living lease on; None where one does."""
        table = MESSAGES.c
        query = sa.select(table.attempt).where(
            table.message_id == message_id, table.ended_position.is_(None), _nobody_holds(now)
        )
        return await self._reader.query(lambda c: c.execute(query).scalar())

    async def held_by(self, worker: str) -> list[UnfinishedTask]:
        """Unfinished tasks that this worker holds a lease on."""
        query = (
            sa.select(*_TASK)
            .select_from(MESSAGES.join(LEASES, _LIVING_LEASE))
            .where(LEASES.c.worker == worker, MESSAGES.c.ended_position.is_(None))
        )
        return await self._reader.query(lambda c: [_task(row) for row in c.execute(query)])


def _nobody_holds(now: int) -> Any:
    return sa.not_(sa.exists().where(_LIVING_LEASE, LEASES.c.expires_at > now))


def _task(row: Any) -> UnfinishedTask:
    return UnfinishedTask(
        task_id=row.task_id,
        message_id=row.message_id,
        conversation_id=row.conversation_id,
        mode=row.mode,
        state=row.state,
        attempt=row.attempt,
    )
