"""The bytes of a file as an answer: whole or in part, and harmless in a browser."""

import re
from urllib.parse import quote

from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer_headers
from chatledger.adapters.http.errors import HttpError, invalid
from chatledger.adapters.http.openapi import BINARY
from chatledger.adapters.http.reading import Query, header
from chatledger.adapters.http.streaming import streamed
from chatledger.adapters.http.surface import Surface
from chatledger.application.ports.views import FileView
from chatledger.domain.inputs import read_flag

_MARKUP = frozenset({"application/xml", "image/svg+xml", "text/html"})
"""What a browser would run scripts of, in the name of this server."""

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def file_answer(surface: Surface, request: HttpRequest, file: FileView, query: Query) -> ASGIResponse:
    """The file, or the part of it that a request names; for HEAD its headers alone.

    Its first bytes are at hand before the answer begins.

    Raises:
        HttpError: there is no such part (416), or nobody can wait for it now.
        KeyDestroyedError: the content has been erased.
        BlobMissingError: the bytes are gone.
        StorageUnavailableError: the store is in trouble.
    """
    as_attachment, is_markup = _flag(query, "as_attachment"), file.mime_type in _MARKUP
    disposition = "attachment" if as_attachment or is_markup else "inline"
    headers = answer_headers(request) | {
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=3600",
        "content-security-policy": "default-src 'none'; sandbox" if is_markup else "default-src 'none'",
        "content-disposition": f"{disposition}; filename*=UTF-8''{quote(file.name, '')}",
        "x-content-type-options": "nosniff",
    }
    is_head = request.method == "HEAD"
    part = None if is_head else _part(header(request, b"range"), file.size)
    start, stop = part or (0, file.size)
    headers["content-length"] = str(stop - start)
    if part is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{file.size}"
    media_type = BINARY if as_attachment else file.mime_type
    if is_head:
        return ASGIResponse(headers=headers, media_type=media_type)
    pieces = surface.application.files.content(file, start, stop)
    return await streamed(surface, pieces, status=200 if part is None else 206, media_type=media_type, headers=headers)


def _flag(query: Query, name: str) -> bool:
    text = query.text(name)
    flag = False if text is None else read_flag(text)
    if flag is None:
        raise invalid(name, f"{name} must be a boolean")
    return flag


def _part(given: str | None, size: int) -> tuple[int, int] | None:
    """The one range of a request (RFC 9110, section 14); None for all of it, also where several are asked for.

    Raises:
        HttpError: the file has no such part.
    """
    found = None if given is None else _RANGE.fullmatch(given.strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if first:
        start, stop = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < int(first):
            return None
    else:
        start, stop = max(size - int(last), 0), size
    if start >= stop:
        raise HttpError(
            416,
            "The file has no such part.",
            code="range_not_satisfiable",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, stop
