"""The change feed: every event in the ledger's order, as CloudEvents, in pages or as a stream that goes on."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, answer_headers, encode
from chatledger.adapters.http.auth import require_reader
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.openapi import EVENT_STREAM, LIMIT_PARAMETER, Operation, Parameter, documented
from chatledger.adapters.http.reading import Query, header
from chatledger.adapters.http.sse import open_stream
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.cloud_events import BATCH_MEDIA_TYPE, CloudEvent
from chatledger.application.queries.feed import EVENT_TYPES, FeedEvent, FeedFollower, FeedPage, Wanted

_PATH = "/v1/events"


_TYPE = f"(?:{'|'.join(sorted(EVENT_TYPES))})"
_Types = Annotated[str, msgspec.Meta(pattern=f"^{_TYPE}(?:,{_TYPE})*$")]


class CloudEventPage(msgspec.Struct, frozen=True):
    """A page of the feed, oldest first. ``cursor`` leads to what follows, and there always is one: the feed goes on.

    ``has_more`` says whether there is more already. With filters a page may be empty and have more.
    """

    data: Sequence[CloudEvent]
    has_more: bool
    cursor: str


_READ = Operation(
    tag="Ledger",
    summary="Read the change feed",
    description=(
        "Every event, each once, in the order of the ledger, as CloudEvents 1.0: those of its own app for an app's "
        "key, all of them for an operator with the scope `audit`. `Accept` chooses between a page; a batch of "
        "CloudEvents, whose cursor is in the header `X-Cursor` and in a `Link`; and a stream that goes on as events "
        "land. Each request looks at a bounded part of the ledger: with filters a page may be short, or empty, and "
        "lead on all the same."
    ),
    credential="reader",
    parameters=(
        Parameter("after", "A cursor that the feed gave: what comes after it. `now`: what lands from here on."),
        Parameter("Last-Event-ID", "The same as `after`, for streams, and before it.", where="header"),
        Parameter("types", "Those of these types, between commas, as `MessageCompleted,MessageErrored`.", _Types),
        Parameter("app_id", "Those of this app.", UUID),
        LIMIT_PARAMETER,
    ),
    answers={200: CloudEventPage},
    streams=True,
    event=CloudEvent,
    files=(BATCH_MEDIA_TYPE,),
    errors=(400, 404),
)


def feed_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application
    credentials, feed = application.credentials, application.feed

    @get(_PATH, opt=documented(_READ))
    async def read_feed(request: HttpRequest) -> ASGIResponse:
        query = Query(request)
        reader = await require_reader(request, credentials, query)
        if query.text("user") is not None:
            raise invalid("user", "the feed is an app's: user is not supported here")
        types = query.text("types")
        wanted = await feed.wanted(reader, query.uuid("app_id"), types.split(",") if types else ())
        accepted = header(request, b"accept") or ""
        if EVENT_STREAM in accepted:
            return await _follow(request, query, wanted)
        after = await feed.place(query.text("after"))
        page = await feed.page(wanted, after, query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE))
        events = [event.cloud_event for event in page.events]
        if BATCH_MEDIA_TYPE in accepted:
            headers = answer_headers(request) | _where_to_go_on(query, page)
            return ASGIResponse(body=encode(events), media_type=BATCH_MEDIA_TYPE, headers=headers)
        return answer(request, CloudEventPage(events, page.has_more, page.cursor))

    async def _follow(request: HttpRequest, query: Query, wanted: Wanted) -> ASGIResponse:
        if query.text("limit") is not None:
            raise invalid("limit", "a stream has no limit")
        last_id = header(request, b"last-event-id")
        field, given = ("Last-Event-ID", last_id) if last_id else ("after", query.text("after"))
        follower = feed.follow(wanted, await feed.place(given, field))
        rendering = FeedRendering(follower)
        batches = application.reads.followed(wanted.reader, follower.batches(), wanted.subject, wanted.app_id)
        return await open_stream(surface, request, follower, batches, lambda *_: rendering)

    return (read_feed,)


def _where_to_go_on(query: Query, page: FeedPage) -> dict[str, str]:
    kept = {name: value for name in ("types", "app_id", "limit") if (value := query.text(name)) is not None}
    following = f'<{_PATH}?{urlencode({"after": page.cursor} | kept)}>; rel="next"'
    return {"x-cursor": page.cursor, "x-has-more": str(page.has_more).lower(), "link": following}


class FeedRendering:
    """One follower's view of the feed. It has no end."""

    has_ended = False
    gives_ids = True

    def __init__(self, follower: FeedFollower) -> None:
        self._follower = follower
        self._shown = follower.position

    def render(self, events: Sequence[FeedEvent]) -> bytes:
        """A frame for each event; and where others were looked at after the last one, the place after those."""
        frames = [b"id: %s\ndata: %s\n\n" % (event.cursor.encode(), encode(event.cloud_event)) for event in events]
        self._shown = events[-1].position if events else self._shown
        if self._follower.position > self._shown:
            self._shown = self._follower.position
            frames.append(b"id: %s\n\n" % self._follower.cursor.encode())
        return b"".join(frames)
