"""OPTIONS on a path that several handlers share: the framework's own answer names the first one's methods alone."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, no_content


def with_options(handlers: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """These handlers, and before them those of OPTIONS on the paths that several share."""
    sharing: dict[str, list[HTTPRouteHandler]] = defaultdict(list)
    for handler in handlers:
        for path in handler.paths:
            sharing[path].append(handler)
    return [_options_route(path, sharers) for path, sharers in sharing.items() if len(sharers) > 1] + [*handlers]


def _options_route(path: str, sharers: Iterable[HTTPRouteHandler]) -> HTTPRouteHandler:
    methods = {str(method) for handler in sharers for method in handler.http_methods}
    allowed = ", ".join(sorted({"OPTIONS", *methods}))

    @route(path, http_method="OPTIONS", status_code=200)
    async def tell_methods(request: HttpRequest) -> ASGIResponse:
        return no_content(request, {"allow": allowed})

    return tell_methods
