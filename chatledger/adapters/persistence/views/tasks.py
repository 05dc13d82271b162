"""Answers under way."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import CONVERSATIONS, HEAD, LEASES, MESSAGES
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ports.views import Interruption, KnownRequest, UnfinishedTask

_LIVING_LEASE = LEASES.c.message_id == MESSAGES.c.message_id
_LIVING_CONVERSATION = sa.exists().where(
    CONVERSATIONS.c.conversation_id == MESSAGES.c.conversation_id, sa.not_(CONVERSATIONS.c.is_deleted)
)
_TASK = (
    MESSAGES.c.task_id,
    MESSAGES.c.message_id,
    MESSAGES.c.conversation_id,
    MESSAGES.c.mode,
    MESSAGES.c.state,
    MESSAGES.c.attempt,
)
_EARLIER = MESSAGES.alias("earlier")
_IS_AHEAD = sa.and_(
    _EARLIER.c.conversation_id == MESSAGES.c.conversation_id,
    _EARLIER.c.position < MESSAGES.c.position,
    _EARLIER.c.ended_position.is_(None),
)
_IS_NEXT = sa.not_(sa.exists().select_from(_EARLIER).where(_IS_AHEAD))


class SqlTaskViews(SqlReading):
    """What recovery, stopping, joining and waiting find."""

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
            sa.select(table.message_id, table.fingerprint, table.state, sa.not_(_LIVING_CONVERSATION))
            .where(
                table.idempotency_key == idempotency_key,
                table.end_user_id == end_user_id,
                table.created_at >= since,
            )
            .order_by(table.position.desc())
            .limit(1)
        )
        found = await self._reader.query(lambda c: c.execute(query).first())
        return None if found is None else KnownRequest(*found[:3], is_deleted=bool(found[3]))

    async def unseen(self, limit: int) -> list[UUID]:
        """Messages of deleted conversations whose answers nobody has asked to end, newest first."""
        table = MESSAGES.c
        query = (
            sa.select(table.message_id)
            .where(table.ended_position.is_(None), table.state != "stopping", sa.not_(_LIVING_CONVERSATION))
            .order_by(table.position.desc())
            .limit(limit)
        )
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def interrupted(self, limit: int, conversations: Collection[UUID] | None = None) -> list[Interruption]:
        """Unfinished messages that a later one of their conversation interrupts and nobody has asked to end."""
        table, later = MESSAGES.c, MESSAGES.alias("later").c
        by = (
            sa.select(later.message_id)
            .where(later.conversation_id == table.conversation_id, later.position > table.position)
            .where(later.on_busy == "interrupt")
            .order_by(later.position)
            .limit(1)
            .scalar_subquery()
        )
        unfinished = sa.select(table.message_id, table.waits, table.position, by.label("by")).where(
            table.ended_position.is_(None), table.state != "stopping"
        )
        if conversations is not None:
            unfinished = unfinished.where(table.conversation_id.in_(conversations))
        found = unfinished.subquery().c
        query = sa.select(found.message_id, found.waits, found.by).where(found.by.is_not(None))
        query = query.order_by(found.position).limit(limit)
        return await self._reader.query(lambda c: [Interruption(*row) for row in c.execute(query)])

    async def turn(self, message_id: UUID) -> int | None:
        """Where the ledger ends, if all that came before a message in its conversation has ended; else None."""
        query = sa.select(HEAD.c.position).select_from(HEAD.join(MESSAGES, MESSAGES.c.message_id == message_id))
        return await self._reader.query(lambda c: c.execute(query.where(_IS_NEXT)).scalar())

    async def waiting(self, limit: int) -> list[UUID]:
        """Messages that wait for their turn, or are about to begin after it has come, oldest first."""
        table = MESSAGES.c
        query = (
            sa.select(table.message_id)
            .where(table.ended_position.is_(None), table.waits)
            .order_by(table.position)
            .limit(limit)
        )
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def next_in_turn(self, message_ids: Collection[UUID]) -> list[UnfinishedTask]:
        """What has waited until now in the conversations of these messages, with all that came before it ended."""
        table, those = MESSAGES.c, MESSAGES.alias("those").c
        conversations = sa.select(those.conversation_id).where(those.message_id.in_(message_ids))
        query = sa.select(*_TASK).where(
            table.conversation_id.in_(conversations), table.ended_position.is_(None), table.waits, _IS_NEXT
        )
        return await self._reader.query(lambda c: [_task(row) for row in c.execute(query)])

    async def unfinished(self, message_ids: Collection[UUID]) -> list[UUID]:
        """Those of these messages that have not ended."""
        table = MESSAGES.c
        query = sa.select(table.message_id).where(table.message_id.in_(message_ids), table.ended_position.is_(None))
        return await self._reader.query(lambda c: list(c.execute(query).scalars()))

    async def ahead(self, message_id: UUID) -> int:
        """How many messages that came before one in its conversation are unfinished."""
        query = sa.select(sa.func.count()).select_from(MESSAGES.join(_EARLIER, _IS_AHEAD))
        return await self._reader.query(
            lambda c: c.execute(query.where(MESSAGES.c.message_id == message_id)).scalar_one()
        )

    async def unclaimed(self, now: int, limit: int, among: Collection[UUID] | None = None) -> list[UnfinishedTask]:
        """Tasks that are due and that no worker holds a living lease on, at this time in microseconds.

        None among them waits for its turn. With ``among``, those of these messages alone.
        """
        table = MESSAGES.c
        due = sa.or_(table.not_before.is_(None), table.not_before <= now)
        query = (
            sa.select(*_TASK)
            .where(table.ended_position.is_(None), due, sa.or_(sa.not_(table.waits), _IS_NEXT), _nobody_holds(now))
            .order_by(table.position)
            .limit(limit)
        )
        if among is not None:
            query = query.where(table.message_id.in_(among))
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
