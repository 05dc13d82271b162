"""Forms with files (RFC 7578), read part by part: neither a part nor the whole is ever in memory."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import unquote

import msgspec
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from chatledger.adapters.http.answers import HttpRequest
from chatledger.adapters.http.errors import HttpError
from chatledger.adapters.http.reading import header

MAX_PARTS = 32
MAX_FIELD_BYTES = 64 * 1024
"""Of a part that is no file."""

OVERHEAD_BYTES = 1024 * 1024
"""What a form may have beside its file."""

PATIENCE_SECONDS = 60.0
"""For which a form is waited for in all. What arrives gives of it back, never more than there was."""

SLOWEST_BYTES = 8 * 1024
"""A second's worth: whoever sends a form more slowly in the long run, a byte now and then perhaps, is cut off."""

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_EXTENDED_NAME = re.compile(r"; *filename\*= *(?P<charset>utf-8|iso-8859-1)'[^'; ]*'(?P<name>[^;\s]+)", re.IGNORECASE)

_NO_FORM = "The request body must be a form (Content-Type: multipart/form-data)."
_BROKEN = "The form is not well-formed."


class Part(msgspec.Struct):
    """One part of a form. What is not read of its content is skipped.

    Attributes:
        filename: as it was given, a path perhaps; None for a part that is no file.
        content_type: what its sender says; None where it says nothing.
    """

    name: str
    filename: str | None
    content_type: str | None
    content: AsyncGenerator[bytes, None]

    async def text(self) -> str:
        """The content of a field.

        Raises:
            HttpError: it is too large (413) or no text (400).
        """
        held = bytearray()
        async for piece in self.content:
            held += piece
            if len(held) > MAX_FIELD_BYTES:
                raise HttpError(413)
        try:
            return held.decode()
        except UnicodeDecodeError:
            raise HttpError(400, _BROKEN) from None


async def read_form(request: HttpRequest, largest_file: int) -> AsyncGenerator[Part, None]:
    """The parts of a request's form, in its own order.

    Raises:
        HttpError: it is no form (415), not well-formed (400), larger than a file may be (413), or not sent on (408).
    """
    media_type, options = parse_options_header(header(request, b"content-type") or "")
    if media_type != "multipart/form-data" or not options.get("boundary"):
        raise HttpError(415, _NO_FORM)
    limit = largest_file + OVERHEAD_BYTES
    declared = header(request, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise HttpError(413, code="file_too_large")
    async with aclosing(_events(request, options["boundary"], limit)) as events:
        async for event in events:
            if isinstance(event, MultipartSegment):
                part = Part(event.name or "", _filename(event), event.content_type, _content(events))
                yield part
                async for _ in part.content:
                    pass


def _filename(segment: MultipartSegment) -> str | None:
    """The name in its extended notation (RFC 8187), if it is there and can be read, before the plain one.

    RFC 7578, section 4.2, wants none in a form. Widespread clients send it all the same, beside one for mail programs.
    """
    extended = _EXTENDED_NAME.search(_QUOTED.sub('""', segment.header("Content-Disposition") or ""))
    if extended is not None:
        with suppress(UnicodeDecodeError):
            return unquote(extended["name"], extended["charset"], "strict")
    return segment.filename


async def _content(events: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    """The bytes of one part: up to the event that ends it."""
    async for event in events:
        if event is None:
            return
        yield event


async def _events(request: HttpRequest, boundary: str, limit: int) -> AsyncGenerator[Any, None]:
    """The parser's events. Whoever reads a part's content reads on here, and meets the errors of the form."""
    size, patience, clock = 0, PATIENCE_SECONDS, asyncio.get_running_loop().time
    try:
        parser = PushMultipartParser(boundary, max_segment_count=MAX_PARTS)
        while not parser.closed:
            since = clock()
            try:
                message: Any = await asyncio.wait_for(request.receive(), patience)
            except TimeoutError:
                raise HttpError(408, "The form was not sent on.", code="request_timeout") from None
            if message["type"] == "http.disconnect":
                raise HttpError(400, _BROKEN)
            body = message.get("body", b"")
            size += len(body)
            patience = min(patience - (clock() - since) + len(body) / SLOWEST_BYTES, PATIENCE_SECONDS)
            if size > limit:
                raise HttpError(413, code="file_too_large")
            if body:
                for event in parser.parse(body):
                    yield event
            if not message.get("more_body", False) and not parser.closed:
                parser.close()
    except MultipartError:
        raise HttpError(400, _BROKEN) from None
