"""All of one person, for whoever answers their request to see it."""

from collections.abc import Sequence

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.admin_api.people import USERS, PersonRequest, named_person
from chatledger.adapters.http.answers import HttpRequest, answer_headers
from chatledger.adapters.http.auth import require_auditor
from chatledger.adapters.http.bodies import read_body
from chatledger.adapters.http.openapi import BODY_ERRORS, Operation, documented
from chatledger.adapters.http.streaming import streamed
from chatledger.adapters.http.surface import Surface
from chatledger.application.audit.access_document import AccessedConversation, AccessedFile, AccessedMessage
from chatledger.application.audit.access_request import DocumentHead


class ExportedConversation(AccessedConversation, frozen=True, kw_only=True):
    """A conversation with all its messages, oldest first; not ``is_whole`` where it was erased while it was read."""

    messages: Sequence[AccessedMessage]
    is_whole: bool = True


class ExportedPersonFile(AccessedFile, frozen=True, kw_only=True):
    """A file with its bytes in base64, null where they are gone; not ``is_whole`` where it went while it was read."""

    content: str | None
    is_whole: bool = True


class ExportedPerson(DocumentHead, frozen=True, kw_only=True):
    """All that a person has, has said and was answered. Deleted conversations are among it, and are marked."""

    conversations: Sequence[ExportedConversation]
    files: Sequence[ExportedPersonFile]


_EXPORT = Operation(
    tag="Erasure",
    summary="Export all of one person",
    description=(
        "For operators with the scope `audit`: one readable document that answers a person's request to see what is "
        "kept of them. Legal holds and reads by operators are not in it; that it was read is on record."
    ),
    credential="operator",
    body=PersonRequest,
    answers={200: ExportedPerson},
    errors=(*BODY_ERRORS, 404, 410),
)


def person_export_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handler."""
    application = surface.application

    @post(f"{USERS}/export", status_code=200, opt=documented(_EXPORT))
    async def export_person(request: HttpRequest) -> ASGIResponse:
        auditor = await require_auditor(request, application.credentials, "audit")
        end_user_id = await named_person(application, await read_body(request, surface.settings))
        headers = answer_headers(request) | {"content-disposition": f'attachment; filename="{end_user_id}.json"'}
        pieces = application.access_requests.document(auditor, end_user_id)
        return await streamed(surface, pieces, status=200, media_type="application/json", headers=headers)

    return (export_person,)
