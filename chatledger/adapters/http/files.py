"""How the files of a message look on the wire, and where they can be fetched."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from chatledger.adapters.http.answers import HttpRequest
from chatledger.adapters.http.surface import Surface
from chatledger.application.files.limits import extension_of
from chatledger.domain.values import AttachedFile, BelongsTo, FileKind, TransferMethod

Link = Callable[[AttachedFile], str | None]
"""Where a file of a message can be fetched."""


class MessageFileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a message of the history. ``url`` is good for a while, where the file is stored here."""

    id: UUID
    filename: str
    type: FileKind
    url: str | None
    mime_type: str | None
    size: int | None
    transfer_method: TransferMethod
    belongs_to: BelongsTo
    upload_file_id: UUID | None


class AnswerFileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file at the end of a stream, or as the value of an input."""

    related_id: UUID
    extension: str
    filename: str
    size: int | None
    mime_type: str | None
    transfer_method: TransferMethod
    type: FileKind
    url: str | None
    upload_file_id: UUID | None
    remote_url: str | None


def signed_links(surface: Surface, request: HttpRequest) -> Link:
    """Links that are good from now on, for whoever has them."""
    return lambda file: file.url if file.upload_file_id is None else link_to(surface, request, file.upload_file_id)


def stable_links(prefix: str) -> Link:
    """Links that are the same each time, for whoever is let in at this entrance."""
    return lambda file: file.url if file.upload_file_id is None else f"{prefix}/files/{file.upload_file_id}/preview"


def link_to(surface: Surface, request: HttpRequest, file_id: UUID) -> str:
    """A signed link to a stored file."""
    origin = surface.settings.public_url or f"{request.url.scheme}://{request.url.netloc}"
    return origin.rstrip("/") + surface.application.files.links.path(file_id)


def message_files(files: Sequence[AttachedFile], link: Link) -> list[MessageFileObject]:
    """The files of a message, but for those that are values of its inputs."""
    return [
        MessageFileObject(
            id=file.file_id,
            filename=file.name,
            type=file.kind,
            url=link(file),
            mime_type=file.mime_type,
            size=file.size,
            transfer_method=file.transfer_method,
            belongs_to=file.belongs_to,
            upload_file_id=file.upload_file_id,
        )
        for file in files
        if file.variable is None
    ]


def answer_files(files: Sequence[AttachedFile], link: Link) -> list[AnswerFileObject] | None:
    """The files of a message at the end of its stream."""
    return [_answer_file(file, link) for file in files if file.variable is None] or None


def inputs_with_files(inputs: Mapping[str, Any], files: Sequence[AttachedFile], link: Link) -> dict[str, Any]:
    """The inputs of a message with its files in their places."""
    shown = dict(inputs)
    for variable in {file.variable for file in files if file.variable is not None}:
        values = [_answer_file(file, link) for file in files if file.variable == variable]
        shown[variable] = values if isinstance(shown.get(variable), list) else values[0]
    return shown


def _answer_file(file: AttachedFile, link: Link) -> AnswerFileObject:
    return AnswerFileObject(
        related_id=file.upload_file_id or file.file_id,
        extension=extension_of(file.name),
        filename=file.name,
        size=file.size,
        mime_type=file.mime_type,
        transfer_method=file.transfer_method,
        type=file.kind,
        url=link(file),
        upload_file_id=file.upload_file_id,
        remote_url=file.url,
    )
