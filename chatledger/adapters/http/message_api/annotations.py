"""An app's annotations, and whether they answer: for its key alone."""

from collections.abc import Sequence
from typing import Annotated, get_args
from uuid import UUID

import msgspec
from litestar import delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, epoch_seconds, no_content
from chatledger.adapters.http.bodies import Body, read_body, text_field
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.openapi import BODY_ERRORS, LIMIT_PARAMETER, Operation, Parameter, whole_number
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE, MAX_PAGE_NUMBER
from chatledger.application.commands.annotating import Action
from chatledger.application.features import EMBEDDING_PROVIDERS
from chatledger.application.ports.annotations import AnnotationView
from chatledger.domain.configuration import AnnotationReply

Text = Annotated[str, msgspec.Meta(min_length=1, pattern=r"\S")]
Provider = Annotated[str, msgspec.Meta(pattern=f"^(.*/)?({'|'.join(EMBEDDING_PROVIDERS)})$")]


class AnnotationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A question, and what answers it."""

    question: Text
    answer: Text


class AnnotationReplyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How like its own a question has to be for an annotation to answer it, and by which model's embeddings.

    Without a model, only an equal question is.
    """

    score_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)]
    embedding_provider_name: Provider
    embedding_model_name: str


class AnnotationObject(msgspec.Struct, frozen=True, kw_only=True):
    """An annotation, and how many messages it has answered. The time is in epoch seconds."""

    id: UUID
    question: str
    answer: str
    hit_count: int
    created_at: int


class AnnotationList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of annotations, newest first."""

    data: Sequence[AnnotationObject]
    has_more: bool
    limit: int
    total: int
    page: int


class Job(msgspec.Struct, frozen=True):
    """What was asked for, which is done by the time of this answer."""

    job_id: UUID
    job_status: str = "completed"


class JobStatus(msgspec.Struct, frozen=True):
    """How far a job is."""

    job_id: UUID
    job_status: str = "completed"
    error_msg: str = ""


_LIST = Operation(
    tag="Annotations",
    summary="List the app's annotations",
    parameters=(
        Parameter("page", "Counts from 1.", whole_number(1, MAX_PAGE_NUMBER, default=1)),
        LIMIT_PARAMETER,
        Parameter("keyword", "Those with this in their question or answer."),
    ),
    answers={200: AnnotationList},
    errors=(400,),
)
_ADD = Operation(
    tag="Annotations",
    summary="Add an annotation",
    body=AnnotationRequest,
    answers={201: AnnotationObject},
    errors=BODY_ERRORS,
)
_CHANGE = Operation(
    tag="Annotations",
    summary="Change an annotation",
    body=AnnotationRequest,
    answers={200: AnnotationObject},
    errors=(*BODY_ERRORS, 404),
)
_REMOVE = Operation(tag="Annotations", summary="Remove an annotation", answers={204: None}, errors=(404,))
_SWITCH = Operation(
    tag="Annotations",
    summary="Have annotations answer, or not",
    body=AnnotationReplyRequest,
    answers={200: Job},
    errors=BODY_ERRORS,
)
_STATUS = Operation(tag="Annotations", summary="Say how far a job is", answers={200: JobStatus}, errors=(400, 404))


def annotation_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers of the list."""
    entrance, annotating = surface.service, surface.application.annotating
    path = f"{entrance.prefix}/apps/annotations"

    @get(path, opt=entrance.documented(_LIST))
    async def list_annotations(request: HttpRequest) -> ASGIResponse:
        caller = (await entrance.admit(request)).by_credential()
        query = Query(request)
        number = query.integer("page", 1, 1, MAX_PAGE_NUMBER)
        limit = query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE)
        page = await annotating.page(caller, number, limit, query.text("keyword") or "")
        shown = AnnotationList(
            data=[_annotation_object(annotation) for annotation in page.annotations],
            has_more=number * limit < page.total,
            limit=limit,
            total=page.total,
            page=number,
        )
        return answer(request, shown)

    @post(path, status_code=201, opt=entrance.documented(_ADD))
    async def add_annotation(request: HttpRequest) -> ASGIResponse:
        caller = (await entrance.admit(request)).by_credential()
        question, reply = _question_and_answer(await read_body(request, surface.settings))
        return answer(request, _annotation_object(await annotating.add(caller, question, reply)), status=201)

    @put(f"{path}/{{annotation_id:uuid}}", opt=entrance.documented(_CHANGE))
    async def change_annotation(request: HttpRequest, annotation_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, annotation_id)
        caller = (await entrance.admit(request)).by_credential()
        question, reply = _question_and_answer(await read_body(request, surface.settings))
        return answer(request, _annotation_object(await annotating.change(caller, annotation_id, question, reply)))

    @delete(f"{path}/{{annotation_id:uuid}}", status_code=200, opt=entrance.documented(_REMOVE))
    async def remove_annotation(request: HttpRequest, annotation_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, annotation_id)
        caller = (await entrance.admit(request)).by_credential()
        await annotating.remove(caller, annotation_id)
        return no_content(request)

    return list_annotations, add_annotation, change_annotation, remove_annotation


def annotation_reply_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers of the switch."""
    return [handler for action in get_args(Action) for handler in _switch_routes(surface, action)]


def _switch_routes(surface: Surface, action: Action) -> Sequence[HTTPRouteHandler]:
    entrance, annotating = surface.service, surface.application.annotating
    path = f"{entrance.prefix}/apps/annotation-reply/{action}"

    @post(path, status_code=200, opt=entrance.documented(_SWITCH))
    async def switch(request: HttpRequest) -> ASGIResponse:
        caller = (await entrance.admit(request)).by_credential()
        reply = _annotation_reply(await read_body(request, surface.settings), enabled=action == "enable")
        return answer(request, Job(await annotating.switch(caller, reply)))

    @get(f"{path}/status/{{job_id:uuid}}", opt=entrance.documented(_STATUS))
    async def tell_status(request: HttpRequest, job_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, job_id)
        caller = (await entrance.admit(request)).by_credential()
        annotating.require_job(caller, action, job_id)
        return answer(request, JobStatus(job_id))

    return switch, tell_status


def _question_and_answer(body: Body) -> tuple[str, str]:
    return text_field(body, "question") or "", text_field(body, "answer") or ""


def _annotation_reply(body: Body, *, enabled: bool) -> AnnotationReply:
    threshold = body.get("score_threshold")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise invalid("score_threshold", "score_threshold must be a number between 0 and 1")
    names = {}
    for field in ("embedding_provider_name", "embedding_model_name"):
        name = text_field(body, field)
        if name is None:
            raise invalid(field, f"{field} is required")
        names[field] = name
    return AnnotationReply(enabled=enabled, score_threshold=float(threshold), **names)


def _annotation_object(view: AnnotationView) -> AnnotationObject:
    return AnnotationObject(
        id=view.annotation_id,
        question=view.question,
        answer=view.answer,
        hit_count=view.hit_count,
        created_at=epoch_seconds(view.created_at),
    )
