"""Which pages of other origins may ask (Fetch, section 3.3)."""

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.types import ASGIApp, Receive, Scope, Send

EXPOSED_HEADERS = [
    "content-disposition",
    "idempotent-replayed",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "x-request-id",
]
"""What a page of another origin may read beside the headers that each page may (Fetch, CORS-safelisted names)."""


def cors_config(origins: tuple[str, ...]) -> CORSConfig | None:
    """What the framework does for pages of these origins; None takes its part out of every request.

    Cookies are for origins that are named: who lets any page in cannot mean its visitor's.
    """
    if not origins:
        return None
    return CORSConfig(allow_origins=list(origins), allow_credentials="*" not in origins, expose_headers=EXPOSED_HEADERS)


def pass_over_other_origins(app: Litestar) -> None:
    """Let the app answer every other page as if no page had asked, so that its browser keeps the answer from it.

    The framework would refuse its preflight in words that are no answer of ours.
    """
    if app.cors_config is not None:
        app.asgi_handler = _OthersAsNobody(app.asgi_handler, app.cors_config)


class _OthersAsNobody:
    def __init__(self, app: ASGIApp, config: CORSConfig) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"] = [header for header in scope["headers"] if not self._is_anothers(*header)]
        await self._app(scope, receive, send)

    def _is_anothers(self, name: bytes, value: bytes) -> bool:
        return name == b"origin" and not self._config.is_origin_allowed(value.decode("latin-1"))
