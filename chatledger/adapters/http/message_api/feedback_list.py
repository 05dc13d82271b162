"""The app's ratings: its list, page by page, and all of it as a file."""

import csv
import io
from collections.abc import AsyncGenerator, Sequence
from typing import Literal, get_args
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, answer_headers, encode, rfc3339
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.objects import Erased, mark_of
from chatledger.adapters.http.openapi import AS_OF_PARAMETER, Operation, Parameter, whole_number
from chatledger.adapters.http.reading import Query
from chatledger.adapters.http.streaming import streamed
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE_NUMBER
from chatledger.application.periods import accept_period
from chatledger.application.ports.views import FeedbackView
from chatledger.application.queries.feedbacks import MAX_FEEDBACKS
from chatledger.domain.values import FeedbackSource, Rating

Format = Literal["json", "csv", "jsonl"]
CSV, JSON_LINES = "text/csv", "application/jsonl"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet compute what a person wrote."""


class FeedbackObject(msgspec.Struct, frozen=True, kw_only=True):
    """A rating as the app's list shows it. Times are RFC 3339 in UTC. One that is ``erased`` has no content."""

    id: UUID
    app_id: UUID
    conversation_id: UUID
    message_id: UUID
    rating: Rating
    content: str | None
    from_source: FeedbackSource
    from_end_user_id: UUID | None
    from_account_id: UUID | None
    created_at: str
    updated_at: str
    erased: Erased = msgspec.UNSET


class FeedbackPage(msgspec.Struct, frozen=True):
    """A page of ratings, newest first."""

    data: Sequence[FeedbackObject]


_LIST = Operation(
    tag="Feedback",
    summary="List the app's ratings",
    description=("Newest first. With `format` `csv` or `jsonl` all of them come as a file, one a line, without pages."),
    parameters=(
        Parameter("page", "Counts from 1.", whole_number(1, MAX_PAGE_NUMBER, default=1)),
        Parameter("limit", "How many at most.", whole_number(1, MAX_FEEDBACKS, default=DEFAULT_PAGE)),
        Parameter("start", "Those given from this time (RFC 3339) or day of UTC on."),
        Parameter("end", "Those given before this time, or up to the end of this day of UTC."),
        Parameter("format", "`json` in pages; all as a file in the others.", Format),
        AS_OF_PARAMETER,
    ),
    answers={200: FeedbackPage},
    files=(CSV, JSON_LINES),
    errors=(400,),
)


def feedback_list_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handler, which is for the app's key alone."""
    entrance, feedbacks = surface.service, surface.application.feedbacks

    @get(f"{entrance.prefix}/app/feedbacks", opt=entrance.documented(_LIST))
    async def list_feedbacks(request: HttpRequest) -> ASGIResponse:
        caller = (await entrance.admit(request)).by_credential()
        query = Query(request)
        as_of = query.as_of()
        kind: Format = query.choice("format", "json", get_args(Format))
        period = accept_period(query.text("start"), query.text("end"))
        if kind == "json":
            page = query.integer("page", 1, 1, MAX_PAGE_NUMBER)
            limit = query.integer("limit", DEFAULT_PAGE, 1, MAX_FEEDBACKS)
            views = await feedbacks.page(caller, page, limit, period, as_of)
            return answer(request, FeedbackPage([_feedback_object(view) for view in views]))
        for name in ("page", "limit"):
            if query.text(name) is not None:
                raise invalid(name, f"{name} is for the format json: a file has no pages")
        as_lines, media_type = (_as_csv, CSV) if kind == "csv" else (_as_json_lines, JSON_LINES)
        headers = answer_headers(request) | {"content-disposition": f'attachment; filename="feedbacks.{kind}"'}
        lines = as_lines(feedbacks.every(caller, period, as_of))
        return await streamed(surface, lines, status=200, media_type=media_type, headers=headers)

    return (list_feedbacks,)


Batches = AsyncGenerator[Sequence[FeedbackView], None]


async def _as_json_lines(batches: Batches) -> AsyncGenerator[bytes, None]:
    async for batch in batches:
        yield b"".join(encode(_feedback_object(view)) + b"\n" for view in batch)


async def _as_csv(batches: Batches) -> AsyncGenerator[bytes, None]:
    """Comma-separated values (RFC 4180), in UTF-8, under the names of the fields."""
    names = FeedbackObject.__struct_fields__
    heading = ",".join(names) + "\r\n"
    async for batch in batches:
        lines = io.StringIO(heading, newline="")
        lines.seek(0, io.SEEK_END)
        csv.writer(lines).writerows(_cells(_feedback_object(view)) for view in batch)
        yield lines.getvalue().encode()
        heading = ""


def _cells(feedback: FeedbackObject) -> list[str]:
    values = msgspec.structs.astuple(feedback)
    return ["" if value in {None, msgspec.UNSET} else _harmless(str(value)) for value in values]


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _feedback_object(view: FeedbackView) -> FeedbackObject:
    return FeedbackObject(
        id=view.feedback_id,
        app_id=view.app_id,
        conversation_id=view.conversation_id,
        message_id=view.message_id,
        rating=view.rating,
        content=view.content,
        from_source=view.source,
        from_end_user_id=view.end_user_id,
        from_account_id=None,
        created_at=rfc3339(view.created_at),
        updated_at=rfc3339(view.updated_at),
        erased=mark_of(view),
    )
