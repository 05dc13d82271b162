"""The HTTP application: every route, one error table, nothing between the server and the handlers."""

from collections.abc import Awaitable, Callable

from litestar import Litestar
from litestar.datastructures import State

from chatledger.adapters.http.errors import answer_error
from chatledger.adapters.http.service_api.messages import message_routes
from chatledger.adapters.http.service_api.sending import send_routes
from chatledger.adapters.http.settings import HttpSettings, Shutdown
from chatledger.adapters.http.surface import Surface
from chatledger.application.application import Application

ReadinessCheck = Callable[[], Awaitable[object]]
"""Raises if the server is not ready to work. May take its time: the caller waits only so long."""


def create_http_app(
    application: Application, settings: HttpSettings, is_ready: ReadinessCheck, shutdown: Shutdown
) -> Litestar:
    """The application that a server serves."""
    surface = Surface(application, settings, shutdown)
    return Litestar(
        route_handlers=[*send_routes(surface), *message_routes(surface)],
        exception_handlers={Exception: answer_error},
        logging_config=None,
        openapi_config=None,
        state=State({"new_id": application.new_id}),
    )
