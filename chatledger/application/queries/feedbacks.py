"""The ratings of an app's messages."""

from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

from chatledger.application.accepting import MAX_PAGE, MAX_PAGE_NUMBER, accept_number
from chatledger.application.as_of import AsOf
from chatledger.application.caller import Caller
from chatledger.application.ports.views import FeedbackView, Period, Views
from chatledger.application.queries.past import Past

MAX_FEEDBACKS = MAX_PAGE + 1
BATCH = 500

ALWAYS = Period()


class Feedbacks:
    """They are the app's, whoever gave them: its key alone opens them. ``as_of`` asks for those that stood then."""

    def __init__(self, views: Views, past: Past, batch: int = BATCH) -> None:
        self._views = views
        self._past = past
        self._batch = batch

    async def page(
        self, caller: Caller, page: int, limit: int, period: Period = ALWAYS, as_of: AsOf | None = None
    ) -> Sequence[FeedbackView]:
        """One page of those that were given in a period, newest first. Pages count from 1.

        Raises:
            InvalidParameterError: there is no page of that number, a page is not that long, or ``as_of`` is no moment
                of the past.
        """
        accept_number("page", page, 1, MAX_PAGE_NUMBER)
        accept_number("limit", limit, 1, MAX_FEEDBACKS)
        app_id, offset = caller.app.app_id, (page - 1) * limit
        if as_of is None:
            return await self._views.feedbacks(app_id, period, limit, offset=offset)
        return await self._past.feedbacks(app_id, period, limit, await self._past.position(as_of), offset=offset)

    async def every(
        self, caller: Caller, period: Period = ALWAYS, as_of: AsOf | None = None
    ) -> AsyncGenerator[Sequence[FeedbackView], None]:
        """All that were given in a period, newest first, batch by batch; the first one may be empty.

        What is given meanwhile is not among them; what is withdrawn may be, unless ``as_of`` says when they stood.

        Raises:
            InvalidParameterError: ``as_of`` is no moment of the past.
        """
        position = None if as_of is None else await self._past.position(as_of)
        batch = await self._batch_of(caller.app.app_id, period, position)
        yield batch
        while len(batch) == self._batch:
            batch = await self._batch_of(caller.app.app_id, period, position, batch[-1].position)
            yield batch

    async def _batch_of(
        self, app_id: UUID, period: Period, position: int | None, beyond: int | None = None
    ) -> Sequence[FeedbackView]:
        if position is None:
            return await self._views.feedbacks(app_id, period, self._batch, beyond=beyond)
        return await self._past.feedbacks(app_id, period, self._batch, position, beyond=beyond)
