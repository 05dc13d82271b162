"""The pages: what runs here, and the API's documentation. Everything that they load comes from this server."""

import html
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from litestar import get, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer_headers
from chatledger.adapters.http.errors import HttpError
from chatledger.adapters.http.openapi import api_document
from chatledger.adapters.http.settings import HttpSettings
from chatledger.adapters.http.stream_events import StreamEvent

_OWN_FOLDER = Path(__file__).parent
_OWN_ASSETS = {"docs.js": "text/javascript", "site.css": "text/css"}
_SWAGGER_ASSETS = {"swagger_bundle.js": "text/javascript", "swagger_style.css": "text/css"}

_POLICY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""The browser itself refuses any foreign host. The documentation page sets styles in its elements."""


def page_routes(settings: HttpSettings) -> Sequence[HTTPRouteHandler]:
    """The handlers."""

    @route("/", http_method=["GET", "HEAD"])
    async def show_home(request: HttpRequest) -> ASGIResponse:
        page = _read(_OWN_FOLDER / "home.html").decode()
        origin = f"{request.url.scheme}://{request.url.netloc}"
        page = page.replace("{{version}}", html.escape(settings.version)).replace("{{origin}}", html.escape(origin))
        return _page(request, page.encode(), "text/html")

    @route("/docs", http_method=["GET", "HEAD"])
    async def show_documentation(request: HttpRequest) -> ASGIResponse:
        return _page(request, _read(_OWN_FOLDER / "docs.html"), "text/html")

    @get("/assets/{name:str}")
    async def serve_asset(request: HttpRequest, name: FromPath[str]) -> ASGIResponse:
        if name in _OWN_ASSETS:
            return _page(request, _read(_OWN_FOLDER / name), _OWN_ASSETS[name])
        if name in _SWAGGER_ASSETS:
            return _page(request, _read(_swagger_folder() / name), _SWAGGER_ASSETS[name])
        raise HttpError(404)

    @get("/openapi.json")
    async def describe_api(request: HttpRequest) -> ASGIResponse:
        state = request.app.state
        if "api_document" not in state:
            state["api_document"] = api_document(request.app.routes, settings.version, StreamEvent)
        return ASGIResponse(body=state["api_document"], media_type="application/json", headers=answer_headers(request))

    return show_home, show_documentation, serve_asset, describe_api


def _page(request: HttpRequest, content: bytes, media_type: str) -> ASGIResponse:
    return ASGIResponse(body=content, media_type=media_type, headers=answer_headers(request) | _POLICY)


@cache
def _read(file: Path) -> bytes:
    """Each of the few files once."""
    return file.read_bytes()


@cache
def _swagger_folder() -> Path:
    """Where the ``offapi`` package keeps its files. It is never imported: its code would load another framework."""
    spec = find_spec("offapi")
    if spec is None or not spec.submodule_search_locations:
        raise HttpError(404)
    return Path(spec.submodule_search_locations[0])
