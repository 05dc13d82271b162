"""What has come to an end on the ledger, in its order."""

import logging
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import EVENT_TYPES, EVENTS, HEAD, MESSAGES, STREAMS
from chatledger.adapters.persistence.views.messages import MESSAGE_ROWS, SqlMessageViews
from chatledger.application.fault_report import describe
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import MessageView
from chatledger.application.search.indexing import EndedMessages
from chatledger.domain.events import REGISTRY, TERMINAL_EVENTS, ConversationErased

log = logging.getLogger(__name__)

POSITIONS = 5_000
"""That are looked at together."""
MOST = 200
"""Ends that are given together."""
MOST_BYTES = 4_000_000
"""Of sealed questions and answers that are given together, unless one alone has more."""

_ERASED = REGISTRY.of(ConversationErased).name
_ENDS = (_ERASED, *(REGISTRY.of(body).name for body in TERMINAL_EVENTS))


class SqlEndedMessageViews(SqlMessageViews):
    """Reads no event but those that end something."""

    async def ended_after(self, position: int) -> EndedMessages:
        """A bounded number of what has ended after a position, in order."""
        events, last = EVENTS.c, position + POSITIONS
        content = sa.func.length(MESSAGES.c.question) + sa.func.coalesce(sa.func.length(MESSAGES.c.answer), 0)
        types = sa.select(EVENT_TYPES.c.number).where(EVENT_TYPES.c.name.in_(_ENDS))
        query = (
            sa.select(events.position, STREAMS.c.stream_id, EVENT_TYPES.c.name, content.label("size"))
            .join(STREAMS, STREAMS.c.number == events.stream)
            .join(EVENT_TYPES, EVENT_TYPES.c.number == events.type)
            .outerjoin(MESSAGES, MESSAGES.c.message_id == STREAMS.c.stream_id)
            .where(events.position > position, events.position <= last, events.type.in_(types))
            .order_by(events.position)
            .limit(MOST)
        )

        def read(connection: sa.Connection) -> EndedMessages:
            head: int = connection.execute(sa.select(HEAD.c.position)).scalar_one()
            listed = connection.execute(query).all()
            ends = _first(listed)
            is_cut = len(ends) < len(listed) or len(listed) == MOST
            end = ends[-1].position if is_cut else min(last, head)
            ids = [row.stream_id for row in ends if row.name != _ERASED]
            rows = connection.execute(MESSAGE_ROWS.where(MESSAGES.c.message_id.in_(ids)).order_by(MESSAGES.c.position))
            messages = [view for row in rows if (view := self._readable(row)) is not None]
            erased = [row.stream_id for row in ends if row.name == _ERASED]
            return EndedMessages(messages, erased, end, is_cut or end < head)

        return await self._reader.query(read)

    def _readable(self, row: Any) -> MessageView | None:
        """A message as it stands, or None where nothing of it can be read: one must not hide those after it."""
        try:
            view = self._message(row)
        except StorageUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the others are not to wait for it
            log.warning("message %s cannot be read, and so not be found: %s", row.message_id, describe(error))
            return None
        return None if view.is_erased else view


def _first(ends: Sequence[Any]) -> Sequence[Any]:
    """As many as are not too much together, and one at least."""
    sizes = accumulate(row.size or 0 for row in ends)
    return ends[: max(1, sum(size <= MOST_BYTES for size in sizes))]
