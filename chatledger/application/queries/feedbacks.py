"""The ratings of an app's messages."""

from collections.abc import AsyncGenerator, Sequence

from chatledger.application.accepting import MAX_PAGE, MAX_PAGE_NUMBER, accept_number
from chatledger.application.caller import Caller
from chatledger.application.ports.views import FeedbackView, Period, Views

MAX_FEEDBACKS = MAX_PAGE + 1
BATCH = 500

ALWAYS = Period()


class Feedbacks:
    """They are the app's, whoever gave them: its key alone opens them."""

    def __init__(self, views: Views, batch: int = BATCH) -> None:
        self._views = views
        self._batch = batch

    async def page(self, caller: Caller, page: int, limit: int, period: Period = ALWAYS) -> Sequence[FeedbackView]:
        """One page of those that were given in a period, newest first. Pages count from 1.

        Raises:
            InvalidParameterError: there is no page of that number, or a page is not that long.
        """
        accept_number("page", page, 1, MAX_PAGE_NUMBER)
        accept_number("limit", limit, 1, MAX_FEEDBACKS)
        return await self._views.feedbacks(caller.app.app_id, period, limit, offset=(page - 1) * limit)

    async def every(self, caller: Caller, period: Period = ALWAYS) -> AsyncGenerator[Sequence[FeedbackView], None]:
        """All that were given in a period, newest first, batch by batch; the first one may be empty.

        What is given meanwhile is not among them; what is withdrawn may be.
        """
        batch = await self._views.feedbacks(caller.app.app_id, period, self._batch)
        yield batch
        while len(batch) == self._batch:
            beyond = batch[-1].position
            batch = await self._views.feedbacks(caller.app.app_id, period, self._batch, beyond=beyond)
            yield batch
