"""The variables of a conversation."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get, patch, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, epoch_seconds
from chatledger.adapters.http.bodies import UserRequest, read_body
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.openapi import BODY_ERRORS, LIMIT_PARAMETER, USER_PARAMETER, Operation, Parameter
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.caller import require_chat
from chatledger.application.ports.views import Page, VariableView
from chatledger.domain.inputs import input_text
from chatledger.domain.values import VariableType
from chatledger.domain.variables import VARIABLE_NAME

VariableName = Annotated[str, msgspec.Meta(pattern=f"^{VARIABLE_NAME}$")]

HIDDEN = "********"
"""What is shown of a secret: an app's key opens the conversations of all its users."""


class VariableObject(msgspec.Struct, frozen=True, kw_only=True):
    """A variable. ``value`` is text: JSON where it is neither text nor absent. Times are epoch seconds."""

    id: UUID
    name: str
    value_type: VariableType
    value: str
    description: str
    created_at: int
    updated_at: int


class VariablePage(msgspec.Struct, frozen=True):
    """A page of variables."""

    limit: int
    has_more: bool
    data: Sequence[VariableObject]


class VariableRequest(UserRequest, frozen=True, kw_only=True):
    """The new value."""

    value: Any


_LIST = Operation(
    tag="Conversations",
    summary="List the variables of a conversation",
    description="In the order in which the app declares them. The value of a `secret` is hidden.",
    parameters=(
        USER_PARAMETER,
        Parameter("last_id", "The last variable of the page before.", UUID),
        LIMIT_PARAMETER,
        Parameter("variable_name", "Only the one of this name, in any case of its letters.", VariableName),
    ),
    answers={200: VariablePage},
    errors=(400, 404),
)
_SET = Operation(
    tag="Conversations",
    summary="Set a variable of a conversation",
    description="The value has to be of the variable's type. Prompts see it from the next message on.",
    body=VariableRequest,
    answers={200: VariableObject},
    errors=(*BODY_ERRORS, 404),
)


def variable_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application
    path = f"{entrance.prefix}/conversations/{{conversation_id:uuid}}/variables"

    @get(path, opt=entrance.documented(_LIST))
    async def list_variables(request: HttpRequest, conversation_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, conversation_id)
        visit = await entrance.admit(request)
        query = Query(request)
        caller = visit.by_query(query)
        require_chat(visit.app)
        page = Page(query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE), query.uuid("last_id"))
        name = query.text("variable_name")
        views, has_more = await application.history.variables(caller, conversation_id, page, name)
        return answer(request, VariablePage(page.limit, has_more, [_variable_object(view) for view in views]))

    async def set_variable(request: HttpRequest, conversation_id: UUID, variable_id: UUID) -> ASGIResponse:
        require_plain_path(request, conversation_id)
        require_plain_path(request, variable_id)
        visit = await entrance.admit(request)
        body = await read_body(request, surface.settings)
        caller = visit.by_body(body)
        require_chat(visit.app)
        if "value" not in body:
            raise invalid("value", "value is required")
        view = await application.setting_variables.set(caller, conversation_id, variable_id, body["value"])
        return answer(request, _variable_object(view))

    @put(f"{path}/{{variable_id:uuid}}", opt=entrance.documented(_SET))
    async def put_variable(
        request: HttpRequest, conversation_id: FromPath[UUID], variable_id: FromPath[UUID]
    ) -> ASGIResponse:
        return await set_variable(request, conversation_id, variable_id)

    @patch(f"{path}/{{variable_id:uuid}}", opt=entrance.documented(_SET))
    async def patch_variable(
        request: HttpRequest, conversation_id: FromPath[UUID], variable_id: FromPath[UUID]
    ) -> ASGIResponse:
        return await set_variable(request, conversation_id, variable_id)

    return list_variables, put_variable, patch_variable


def _variable_object(view: VariableView) -> VariableObject:
    return VariableObject(
        id=view.variable_id,
        name=view.name,
        value_type=view.value_type,
        value=HIDDEN if view.value_type == "secret" else input_text(view.value),
        description=view.description,
        created_at=epoch_seconds(view.created_at),
        updated_at=epoch_seconds(view.updated_at),
    )
