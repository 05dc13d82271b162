"""Messages that ended as errored."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from itertools import product
from typing import Any, get_args
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import DEAD_LETTERS, MESSAGES
from chatledger.adapters.persistence.views.reading import SqlReading
from chatledger.application.ports.dead_letters import DeadLetter, WantedLetters
from chatledger.application.ports.views import Page
from chatledger.domain.values import ErrorCode

_LETTERS = sa.select(
    DEAD_LETTERS,
    MESSAGES.c.task_id,
    MESSAGES.c.end_user_id,
    MESSAGES.c.mode,
    MESSAGES.c.attempt,
    MESSAGES.c.created_at,
    MESSAGES.c.ended_at,
    (sa.func.length(MESSAGES.c.question) == 0).label("is_erased"),
).select_from(DEAD_LETTERS.join(MESSAGES, MESSAGES.c.message_id == DEAD_LETTERS.c.message_id))


class SqlDeadLetterViews(SqlReading):
    """Dead letters. Nothing of them is sealed."""

    async def dead_letter(self, message_id: UUID) -> DeadLetter | None:
        """One of them."""
        query = _LETTERS.where(DEAD_LETTERS.c.message_id == message_id)

        def read(connection: sa.Connection) -> DeadLetter | None:
            return next(_with_replays(connection, connection.execute(query).all()), None)

        return await self._reader.query(read)

    async def dead_letters(self, wanted: WantedLetters, page: Page) -> tuple[Sequence[DeadLetter], bool] | None:
        """A page of them, the last that ended first, and whether more follow; None if ``page.beyond`` is none."""

        def read(connection: sa.Connection) -> tuple[Sequence[DeadLetter], bool] | None:
            before = None
            if page.beyond is not None:
                place = sa.select(DEAD_LETTERS.c.position).where(DEAD_LETTERS.c.message_id == page.beyond)
                before = connection.execute(place).scalar()
                if before is None:
                    return None
            parts = [connection.execute(part).all() for part in _parts(wanted, before, page.limit + 1)]
            rows = nlargest(page.limit + 1, (row for part in parts for row in part), key=lambda row: row.position)
            return [*_with_replays(connection, rows[: page.limit])], len(rows) > page.limit

        return await self._reader.query(read)


def _parts(wanted: WantedLetters, before: int | None, limit: int) -> Iterator[sa.Select[Any]]:
    """The newest of each code and state: each is one index range, so a page costs the same however many there are."""
    table = DEAD_LETTERS.c
    codes = get_args(ErrorCode) if wanted.code is None else (wanted.code,)
    states = (True, False) if wanted.is_open is None else (wanted.is_open,)
    for code, is_open in product(codes, states):
        query = _LETTERS.where(table.error_code == code, table.is_open == is_open)
        if wanted.app_id is not None:
            query = query.where(table.app_id == wanted.app_id)
        if before is not None:
            query = query.where(table.position < before)
        yield query.order_by(table.position.desc()).limit(limit)


def _with_replays(connection: sa.Connection, rows: Sequence[Any]) -> Iterator[DeadLetter]:
    replays = _replays(connection, [row.message_id for row in rows])
    for row in rows:
        yield DeadLetter(
            message_id=row.message_id,
            task_id=row.task_id,
            conversation_id=row.conversation_id,
            app_id=row.app_id,
            end_user_id=row.end_user_id,
            mode=row.mode,
            generator=row.generator,
            code=row.error_code,
            attempts=row.attempt,
            created_at=row.created_at,
            ended_at=row.ended_at,
            replays=tuple(replays[row.message_id]),
            is_erased=bool(row.is_erased),
        )


def _replays(connection: sa.Connection, originals: Iterable[UUID]) -> defaultdict[UUID, list[UUID]]:
    table = MESSAGES.c
    query = sa.select(table.message_id, table.replayed_from).where(table.replayed_from.in_(originals))
    found = defaultdict[UUID, list[UUID]](list)
    for row in connection.execute(query.order_by(table.position)):
        found[row.replayed_from].append(row.message_id)
    return found
