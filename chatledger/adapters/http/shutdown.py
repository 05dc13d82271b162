"""How a server goes down: first it is not ready, then it takes no new work; what has come before that is served."""

import asyncio

from litestar import Litestar
from litestar.types import ASGIApp, Receive, Scope, Send

_ARRIVAL = "arrival"


class Shutdown:
    """Whether the process is on its way down; the composition root says so.

    Attributes:
        leaving: balancers are told to send no more, and connections end with their next answer. Work is let in.
        draining: no new work; streams go on, and those that can be resumed are told so.
    """

    def __init__(self) -> None:
        self.leaving = asyncio.Event()
        self.draining = asyncio.Event()
        self._unsettled = 0
        self._all_settled = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether nobody is to send anything new here."""
        return self.leaving.is_set() or self.draining.is_set()

    def note(self, change: int) -> None:
        """So many more requests have come of which it is not yet known what becomes of them."""
        self._unsettled += change
        if not self._unsettled:
            self._all_settled.set()

    async def until_settled(self) -> None:
        """Until all requests that came before have been answered, or have put on record what they are about."""
        while self._unsettled:
            self._all_settled.clear()
            await self._all_settled.wait()


class Arrival:
    """A request, from its coming until it is known what becomes of it.

    Attributes:
        is_late: no new work was let in when it came.
    """

    __slots__ = ("_shutdown", "is_late")

    def __init__(self, shutdown: Shutdown) -> None:
        self.is_late = shutdown.draining.is_set()
        self._shutdown = None if self.is_late else shutdown
        if self._shutdown is not None:
            self._shutdown.note(1)

    def settle(self) -> None:
        """It is on record, or answered."""
        if self._shutdown is not None:
            self._shutdown.note(-1)
            self._shutdown = None


def arrival_of(scope: Scope) -> Arrival:
    """That of a request."""
    arrival: Arrival = scope["state"][_ARRIVAL]
    return arrival


def note_arrivals(app: Litestar, shutdown: Shutdown) -> None:
    """Let each request be what it was when it came, however long its body or its credential takes."""
    app.asgi_handler = _Arrivals(app.asgi_handler, shutdown)


class _Arrivals:
    def __init__(self, app: ASGIApp, shutdown: Shutdown) -> None:
        self._app = app
        self._shutdown = shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrival = scope["state"][_ARRIVAL] = Arrival(self._shutdown)
        if scope.get("method") in {"GET", "HEAD"}:
            arrival.settle()  # it may follow something without an end
        try:
            await self._app(scope, receive, send)
        finally:
            arrival.settle()
