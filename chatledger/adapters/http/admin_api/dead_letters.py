"""Messages that ended as errored: for operators to look over, and to have asked again."""

from collections.abc import Sequence
from typing import Any, get_args
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, rfc3339
from chatledger.adapters.http.auth import require_auditor, require_operator
from chatledger.adapters.http.bodies import read_body
from chatledger.adapters.http.cursors import known_cursor, page_of
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.message_api.sending import Accepted
from chatledger.adapters.http.openapi import (
    BODY_ERRORS,
    CURSOR_PARAMETER,
    LIMIT_PARAMETER,
    Operation,
    Parameter,
    documented,
)
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import accept_choice
from chatledger.application.ports.dead_letters import DeadLetter, WantedLetters
from chatledger.application.queries.dead_letters import AttemptOutcome, DeadLetterDetail, PastAttempt
from chatledger.domain.values import AppMode, ErrorCode

PREFIX = "/v1/admin/dead-letters"


class DeadLetterObject(msgspec.Struct, frozen=True, kw_only=True):
    """A message that ended as errored. Times are RFC 3339 in UTC; ``replays`` are the messages asked in its place.

    One that is ``erased`` cannot be replayed.
    """

    message_id: UUID
    task_id: UUID
    conversation_id: UUID
    app_id: UUID
    end_user_id: UUID
    mode: AppMode
    generator: str
    code: ErrorCode
    attempts: int
    created_at: str
    ended_at: str
    replays: Sequence[UUID]
    erased: bool


class AttemptObject(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt. ``detail`` may be a provider's words."""

    attempt: int
    worker: str
    started_at: str
    ended_at: str
    outcome: AttemptOutcome
    code: ErrorCode | None
    detail: str | None
    not_before: str | None


class ReasonObject(msgspec.Struct, frozen=True):
    """Why the message failed for good."""

    code: ErrorCode
    message: str


class DeadLetterDetailObject(DeadLetterObject, frozen=True, kw_only=True):
    """A dead letter with its reason and what became of its attempts: without what was asked and answered."""

    error: ReasonObject
    history: Sequence[AttemptObject]


class DeadLetterList(msgspec.Struct, frozen=True):
    """A page of dead letters, the last that ended first. ``cursor`` leads to the next page, null if there is none."""

    data: Sequence[DeadLetterObject]
    has_more: bool
    cursor: str | None


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Whether to ask again even where that was done already."""

    force: bool = False


_LIST = Operation(
    tag="Dead letters",
    summary="List messages that failed for good",
    description="Those of all apps, for operators with the scope `operate`.",
    credential="operator",
    parameters=(
        Parameter("app_id", "Those of this app.", UUID),
        Parameter("code", "Those with this error code.", ErrorCode),
        Parameter("open", "Those in whose place nothing was asked yet, or the others.", bool),
        LIMIT_PARAMETER,
        CURSOR_PARAMETER,
    ),
    answers={200: DeadLetterList},
    errors=(400,),
)
_SHOW = Operation(
    tag="Dead letters",
    summary="Read what became of a message that failed for good",
    credential="operator",
    answers={200: DeadLetterDetailObject},
    errors=(404, 410),
)
_REPLAY = Operation(
    tag="Dead letters",
    summary="Ask again what failed for good",
    description=(
        "A message of the same person that asks the same, beside the failed one and within the limits of the app. It "
        "is answered in the background. While an earlier replay is unfinished, and once one was answered, it is "
        "refused with `already_replayed`, unless `force` is set."
    ),
    credential="operator",
    body=ReplayRequest,
    body_required=False,
    answers={202: Accepted},
    errors=(*BODY_ERRORS, 404, 409, 410, 429),
)


def dead_letter_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application
    credentials = application.credentials

    @get(PREFIX, opt=documented(_LIST))
    async def list_dead_letters(request: HttpRequest) -> ASGIResponse:
        await require_operator(request, credentials)
        query = Query(request)
        code = query.text("code")
        wanted = WantedLetters(
            app_id=query.uuid("app_id"),
            code=None if code is None else accept_choice("code", code, get_args(ErrorCode)),
            is_open=query.flag("open"),
        )
        with known_cursor():
            letters, has_more = await application.dead_letters.page(wanted, page_of(query))
        cursor = str(letters[-1].message_id) if has_more else None
        return answer(request, DeadLetterList([_letter_object(letter) for letter in letters], has_more, cursor))

    @get(f"{PREFIX}/{{message_id:uuid}}", opt=documented(_SHOW))
    async def show_dead_letter(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        auditor = await require_auditor(request, credentials, "operate")
        require_plain_path(request, message_id)
        return answer(request, _detail_object(await application.dead_letters.show(message_id, auditor)))

    @post(f"{PREFIX}/{{message_id:uuid}}/replay", status_code=202, opt=documented(_REPLAY))
    async def replay_dead_letter(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        context = await require_operator(request, credentials)
        require_plain_path(request, message_id)
        body = await read_body(request, surface.settings, optional=True)
        force = body.get("force", False)
        if not isinstance(force, bool):
            raise invalid("force", "force must be a boolean")
        surface.require_open(request)
        sent = await application.replaying.replay(message_id, context, force=force)
        accepted = Accepted(task_id=sent.task_id, message_id=sent.message_id, conversation_id=sent.conversation_id)
        return answer(request, accepted, status=202, headers={"location": f"/v1/tasks/{sent.task_id}"})

    return list_dead_letters, show_dead_letter, replay_dead_letter


def _letter_object(letter: DeadLetter) -> DeadLetterObject:
    return DeadLetterObject(**_fields(letter))


def _detail_object(detail: DeadLetterDetail) -> DeadLetterDetailObject:
    return DeadLetterDetailObject(
        **_fields(detail.letter),
        error=ReasonObject(detail.letter.code, detail.reason),
        history=[_attempt_object(past) for past in detail.attempts],
    )


def _fields(letter: DeadLetter) -> dict[str, Any]:
    times = {"created_at": rfc3339(letter.created_at), "ended_at": rfc3339(letter.ended_at)}
    fields = msgspec.structs.asdict(letter) | times
    return fields | {"erased": fields.pop("is_erased")}


def _attempt_object(past: PastAttempt) -> AttemptObject:
    return AttemptObject(
        attempt=past.attempt,
        worker=past.worker,
        started_at=rfc3339(past.started_at),
        ended_at=rfc3339(past.ended_at),
        outcome=past.outcome,
        code=past.code,
        detail=past.detail,
        not_before=None if past.not_before is None else rfc3339(past.not_before),
    )
