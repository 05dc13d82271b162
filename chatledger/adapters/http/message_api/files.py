"""Files on their way in, and out again."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Self
from uuid import UUID

import msgspec
from litestar import post, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, epoch_seconds
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import HttpError
from chatledger.adapters.http.file_answers import file_answer
from chatledger.adapters.http.files import link_to
from chatledger.adapters.http.multipart import Part, read_form
from chatledger.adapters.http.openapi import (
    ANY_TYPE,
    BODY_ERRORS,
    FORM,
    Operation,
    Parameter,
    Upload,
    documented,
)
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import MAX_USER_CHARACTERS
from chatledger.application.caller import Caller
from chatledger.application.commands.uploading import UploadedFile, Uploading
from chatledger.application.errors import ApplicationError
from chatledger.application.files.limits import extension_of
from chatledger.application.files.storing import StoredBytes
from chatledger.application.ports.views import AppView


class UploadForm(msgspec.Struct, frozen=True, kw_only=True):
    """A file and whose it is. Without ``user`` it is of the person whom all such callers share."""

    file: Upload
    user: Annotated[str, msgspec.Meta(max_length=MAX_USER_CHARACTERS)] = ""


class FileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was uploaded. ``mime_type`` is what its bytes say; ``source_url`` is good for a while."""

    id: UUID
    name: str
    size: int
    extension: str
    mime_type: str
    created_by: UUID
    created_at: int
    source_url: str
    tenant_id: UUID
    preview_url: None = None
    reference: None = None
    original_url: None = None
    user_id: None = None
    conversation_id: None = None
    file_key: None = None


_LATEST = 2**53
Expiry = Annotated[int, msgspec.Meta(ge=0, le=_LATEST)]

_UPLOAD = Operation(
    tag="Files",
    summary="Upload a file",
    description="To be sent with messages of the same user. Its bytes show what it is, and so its limit.",
    body=UploadForm,
    body_type=FORM,
    answers={201: FileObject},
    errors=(*BODY_ERRORS, 408, 410),
)
_RANGE = Parameter("Range", "`bytes=first-last`: a part of it.", where="header")
_PREVIEW = Operation(
    tag="Files",
    summary="Fetch a file that a message shows",
    parameters=(Parameter("as_attachment", "Whether a browser saves it.", bool), _RANGE),
    answers={200: ANY_TYPE, 206: ANY_TYPE},
    errors=(400, 403, 404, 410, 416),
)
_LINK = Operation(
    tag="Files",
    summary="Fetch a file by its signed link",
    description="The link comes from an upload, a message or a stream, and ends.",
    credential=None,
    parameters=(
        Parameter("expires", "When the link ends, in epoch seconds.", Expiry, required=True),
        Parameter("signature", "What signs the link.", required=True),
        Parameter("as_attachment", "Whether a browser saves it.", bool),
        _RANGE,
    ),
    answers={200: ANY_TYPE, 206: ANY_TYPE},
    errors=(400, 403, 404, 410, 416, 500, 503),
)


def file_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application
    uploading, files = application.uploading, application.files

    @post(f"{entrance.prefix}/files/upload", status_code=201, opt=entrance.documented(_UPLOAD))
    async def upload_file(request: HttpRequest) -> ASGIResponse:
        visit = await entrance.admit(request)
        surface.require_open(request)
        visit.count_visitor()
        place = surface.take_place()
        try:
            form = read_form(request, uploading.limits(visit.app).largest)
            async with _Reception(uploading, visit.app) as reception, aclosing(form):
                await reception.take_in(form)
                caller = visit.by_body({"user": reception.user})
                uploaded = await reception.keep(caller)
        finally:
            place.leave()
        return answer(request, _file_object(surface, request, uploaded), status=201)

    @route(
        f"{entrance.prefix}/files/{{file_id:uuid}}/preview",
        http_method=["GET", "HEAD"],
        opt=entrance.documented(_PREVIEW),
    )
    async def preview_file(request: HttpRequest, file_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, file_id)
        visit = await entrance.admit(request)
        query = Query(request)
        file = await files.shown(visit.by_query(query), file_id)
        return await file_answer(surface, request, file, query)

    return upload_file, preview_file


def file_link_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handler."""
    files = surface.application.files

    @route("/files/{file_id:uuid}", http_method=["GET", "HEAD"], opt=documented(_LINK))
    async def fetch_linked_file(request: HttpRequest, file_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, file_id)
        query = Query(request)
        file = await files.linked(file_id, query.integer("expires", 0, 0, _LATEST), query.text("signature") or "")
        return await file_answer(surface, request, file, query)

    return (fetch_linked_file,)


class _Reception:
    """What a form has brought so far. Left with an error, it keeps nothing."""

    def __init__(self, uploading: Uploading, app: AppView) -> None:
        self._uploading = uploading
        self._app = app
        self._files = 0
        self._part: Part | None = None
        self._stored: StoredBytes | None = None
        self._refusal: ApplicationError | None = None
        self.user: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._stored is not None:
            await self._uploading.discard(self._stored)

    async def take_in(self, form: AsyncGenerator[Part, None]) -> None:
        """Read all of it, also what is refused: a client that is cut off would not hear why."""
        async for part in form:
            if part.filename is None:
                if part.name == "user":
                    self.user = await part.text()
                continue
            self._files += 1
            if self._files == 1 and part.name == "file":
                self._part = part
                await self._receive(part, part.filename)

    async def _receive(self, part: Part, name: str) -> None:
        if name and part.content_type:
            try:
                self._stored = await self._uploading.receive(self._app, name, part.content)
            except ApplicationError as error:
                self._refusal = error

    async def keep(self, caller: Caller) -> UploadedFile:
        """Put the file on record, if it is one.

        Raises:
            HttpError: there is none, or another one, or it has no name or type.
            ApplicationError: the use case refuses it.
        """
        if self._files > 1:
            raise HttpError(400, "Only one file is allowed.", code="too_many_files")
        if self._part is None:
            raise HttpError(400, "Please upload your file.", code="no_file_uploaded")
        if not self._part.content_type:
            raise HttpError(415, "File type not allowed.", code="unsupported_file_type")
        if not self._part.filename:
            raise HttpError(400, "The specified filename does not exist.", code="filename_not_exists_error")
        if self._refusal is not None:
            raise self._refusal
        if self._stored is None:
            raise TypeError("a file that was not refused was received")
        stored, self._stored = self._stored, None
        return await self._uploading.keep(caller, self._part.filename, stored)


def _file_object(surface: Surface, request: HttpRequest, uploaded: UploadedFile) -> FileObject:
    return FileObject(
        id=uploaded.file_id,
        name=uploaded.name,
        size=uploaded.size,
        extension=extension_of(uploaded.name),
        mime_type=uploaded.mime_type,
        created_by=uploaded.end_user_id,
        created_at=epoch_seconds(uploaded.created_at),
        source_url=link_to(surface, request, uploaded.file_id),
        tenant_id=uploaded.app_id,
    )
