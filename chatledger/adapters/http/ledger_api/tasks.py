"""The state of a generation, by its task."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, rfc3339
from chatledger.adapters.http.auth import NO_CONTENT
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.openapi import USER_PARAMETER, Operation
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.caller import Reader
from chatledger.application.disclosure import error_text
from chatledger.application.queries.history import Task
from chatledger.domain.values import OnBusy, TaskState


class TaskError(msgspec.Struct, frozen=True):
    """Why a generation failed."""

    code: str
    message: str


class TaskObject(msgspec.Struct, frozen=True, kw_only=True):
    """A generation. Times are RFC 3339 in UTC.

    ``ahead`` is how many earlier messages of the conversation have to end before it begins.
    """

    task_id: UUID
    message_id: UUID
    conversation_id: UUID
    status: TaskState
    attempt: int
    on_busy: OnBusy
    ahead: int
    created_at: str
    started_at: str | None
    ended_at: str | None
    error: TaskError | None


_READ = Operation(
    tag="Ledger",
    summary="Read the state of a generation",
    credential="reader",
    parameters=(USER_PARAMETER,),
    answers={200: TaskObject},
    errors=(400, 404, 410),
)


def task_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handler."""

    @get(f"{entrance.prefix}/tasks/{{task_id:uuid}}", opt=entrance.documented(_READ))
    async def read_task(request: HttpRequest, task_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, task_id)
        reader = await entrance.admit_reader(request, Query(request), NO_CONTENT)
        task = await surface.application.history.task(reader, task_id)
        return answer(request, _task_object(reader, task))

    return (read_task,)


def _task_object(reader: Reader, task: Task) -> TaskObject:
    error = error_text(reader, task.error_code, task.error)
    return TaskObject(
        task_id=task.task_id,
        message_id=task.message_id,
        conversation_id=task.conversation_id,
        status=task.state,
        attempt=task.attempt,
        on_busy=task.on_busy,
        ahead=task.ahead,
        created_at=rfc3339(task.created_at),
        started_at=None if task.started_at is None else rfc3339(task.started_at),
        ended_at=None if task.ended_at is None else rfc3339(task.ended_at),
        error=None if task.error_code is None else TaskError(task.error_code, error or ""),
    )
