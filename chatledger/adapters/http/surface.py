"""What all handlers share."""

from collections.abc import Callable, Sequence

from litestar.handlers import HTTPRouteHandler

from chatledger.adapters.http.answers import HttpRequest
from chatledger.adapters.http.entrance import Entrance, ServiceEntrance
from chatledger.adapters.http.errors import unavailable
from chatledger.adapters.http.passports import Passports
from chatledger.adapters.http.settings import HttpSettings
from chatledger.adapters.http.shutdown import Shutdown, arrival_of
from chatledger.adapters.http.web_entrance import WebEntrance
from chatledger.application.application import Application
from chatledger.application.caller import Reader
from chatledger.application.commands.disconnecting import Connection
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.rate_limiting import RateLimiting, RequestRates

HEARD_AT_ONCE = 8
"""Requests whose audio may be in memory."""


class Surface:
    """The use cases, the bounds, and the count of those who wait for an answer."""

    def __init__(self, application: Application, settings: HttpSettings, shutdown: Shutdown) -> None:
        self.application = application
        self.settings = settings
        self.shutdown = shutdown
        self.open_streams = 0
        self.hearing = Bound(HEARD_AT_ONCE)
        self.rate_limiting = RateLimiting(
            application.rate_limiter,
            application.end_users,
            RequestRates(per_key=settings.requests_per_minute, per_user=settings.user_requests_per_minute),
        )
        self.service = ServiceEntrance(application.credentials)
        self.passports = Passports(application.signing_keys, application.clock, settings.passport_seconds)
        self.web = WebEntrance(application.visiting, self.passports)
        self.entrances: Sequence[Entrance] = (self.service, self.web)

    def at_each_entrance(
        self, routes: Callable[["Surface", Entrance], Sequence[HTTPRouteHandler]]
    ) -> Sequence[HTTPRouteHandler]:
        """The handlers of these routes, at every entrance."""
        return [handler for entrance in self.entrances for handler in routes(self, entrance)]

    def require_open(self, request: HttpRequest) -> None:
        """Let new work in.

        Raises:
            HttpError: the process drained already when the request came.
        """
        if arrival_of(request.scope).is_late:
            raise unavailable()

    def take_place(self) -> "Place":
        """A place among those who wait for an answer.

        Raises:
            HttpError: all are taken.
        """
        if self.open_streams >= self.settings.max_open_streams:
            raise unavailable()
        return Place(self)


class Place:
    """One of the bounded places. Given back once, however often it is left."""

    __slots__ = ("_connection", "_surface")

    def __init__(self, surface: Surface) -> None:
        self._surface: Surface | None = surface
        self._connection: Connection | None = None
        surface.open_streams += 1

    def wait_for(self, created: Envelope) -> None:
        """Whoever has it has sent the message that this event began, and waits for its answer."""
        if self._surface is not None:
            self._connection = self._surface.application.disconnecting.connect(created)

    def follow(self, created: Envelope, reader: Reader) -> None:
        """Whoever has it follows the message that this event began."""
        if self._surface is not None:
            self._connection = self._surface.application.disconnecting.connect_follower(created, reader)

    async def desert(self) -> None:
        """Give it back, as the client has gone. While the process drains none goes by itself: it sends them away."""
        surface, connection = self._surface, self._connection
        if surface is None or connection is None or surface.shutdown.draining.is_set():
            self.leave()
            return
        self._connection = None
        self.leave()
        await connection.lose()

    def leave(self) -> None:
        """Give it back."""
        if self._connection is not None:
            self._connection.end()
            self._connection = None
        if self._surface is not None:
            self._surface.open_streams -= 1
            self._surface = None


class Bound:
    """So many may be inside at once: whoever comes too many is told to come again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0

    def __enter__(self) -> None:
        if self._inside >= self._most:
            raise unavailable()
        self._inside += 1

    def __exit__(self, *_: object) -> None:
        self._inside -= 1
