"""An open stream: one follower's batches as server-sent events, until the end or until the client is gone."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, aclosing
from typing import Any, Protocol, TypeVar
from uuid import UUID

from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Scope, Send

from chatledger.adapters.http.answers import HttpRequest, answer_headers
from chatledger.adapters.http.client_watch import ClientWatch
from chatledger.adapters.http.rendering import PING, RECONNECT, Rendering
from chatledger.adapters.http.surface import Place, Surface
from chatledger.application.commands.speaking import Speaking
from chatledger.application.errors import NotFoundError, UnauthorizedError
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import AppView

log = logging.getLogger(__name__)

LARGEST_WRITE = 64 * 1024
"""Bytes. Servers hold back who writes by the number of writes that a slow client has not taken, not by their size."""

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Batches = AsyncGenerator[Sequence[T], None]


class Follower(Protocol):
    """Where the batches come from."""

    def close(self) -> None:
        """Give no more of them."""
        ...


class Renderer(Protocol[T_contra]):
    """What makes frames of batches."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to be shown."""
        ...

    @property
    def gives_ids(self) -> bool:
        """Whether the client knows how to come back."""
        ...

    def render(self, events: Sequence[T_contra], /) -> bytes:
        """The frames of these events."""
        ...


class EventStream(ASGIStreamingResponse):
    """A stream that gives back what it holds even if the client was gone before it began."""

    __slots__ = ("_follower", "_frames", "_goes_on", "_place", "_rendering", "_there", "_watch")

    def __init__(
        self,
        request: HttpRequest,
        rendering: Renderer[Any],
        frames: AsyncGenerator[bytes, None],
        follower: Follower,
        place: Place,
        *,
        goes_on: bool = False,
    ) -> None:
        """``goes_on`` says that there may be frames after the terminal event."""
        headers = answer_headers(request)
        headers["cache-control"] = "no-cache"
        headers["x-accel-buffering"] = "no"
        super().__init__(iterator=frames, media_type="text/event-stream", headers=headers)
        self._rendering = rendering
        self._frames = frames
        self._follower = follower
        self._place = place
        self._goes_on = goes_on
        self._there: asyncio.Timeout | None = None
        self._watch: ClientWatch | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._follower.close()
            if self._watch is not None and self._watch.has_gone:
                await self._place.desert()
            else:
                self._place.leave()
            await self._frames.aclose()

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send the chunks, until the client goes."""
        with ClientWatch(receive, self._end) as self._watch:
            await (self._stream_while_there(send) if self._goes_on else self._stream(send))

    def _end(self) -> None:
        self._follower.close()
        if self._there is not None:
            self._there.reschedule(0)

    async def _stream_while_there(self, send: Send) -> None:
        """What comes after the end does not come from the follower, whose closing does not end it."""
        self._there = there = asyncio.timeout(None)
        try:
            async with there:
                await self._stream(send)
        except TimeoutError:
            if not there.expired():
                raise

    async def _stream(self, send: Send) -> None:
        """Send the chunks; the one with the terminal event closes the stream, which spares a call per stream."""
        async for chunk in self._frames:
            written = 0
            while len(chunk) - written > LARGEST_WRITE:
                piece, written = chunk[written : written + LARGEST_WRITE], written + LARGEST_WRITE
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            has_more = self._goes_on or not self._rendering.has_ended
            await send({"type": "http.response.body", "body": chunk[written:], "more_body": has_more})
            if not has_more:
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def frames(
    surface: Surface, rendering: Renderer[T], batches: Batches[T], recorded: Sequence[T] | None = None
) -> AsyncGenerator[bytes, None]:
    """The chunks of a stream, one per batch that has something to show.

    The headers travel with the first chunk: after a second of silence that is an empty one. With ``recorded`` the
    first batch has been taken already. A client that was given ids is told, once, to come back soon where the process
    is on its way down.

    A ping is due for each full interval since the beginning, whether or not events flow; it never follows the end.
    """
    clock, interval, shutdown = surface.application.clock, surface.settings.ping_seconds, surface.shutdown
    began, pings, is_open, may_warn = clock.monotonic(), 0, False, rendering.gives_ids
    try:
        async with aclosing(batches):
            if recorded is not None:
                is_open = True
                yield rendering.render(recorded)
                if rendering.has_ended:
                    return
            async for batch in batches:
                chunk = rendering.render(batch)
                due = int((clock.monotonic() - began) / interval)
                if due > pings:
                    chunk, pings = PING + chunk, due
                if may_warn and shutdown.draining.is_set():
                    chunk, may_warn = RECONNECT + chunk, False
                if chunk or not (batch or is_open):
                    is_open = True
                    yield chunk
                if rendering.has_ended:
                    return
            if may_warn and shutdown.draining.is_set():
                yield RECONNECT
    except UnauthorizedError:  # whoever comes back is told so
        yield RECONNECT
    except StorageUnavailableError:
        # The store's trouble is in the log already, and whoever resumes comes by here each second.
        log.debug("stream cut short: the store is in trouble")
    except KeyDestroyedError as error:
        log.warning("stream cut short: %s", type(error).__name__)


async def open_stream(
    surface: Surface,
    request: HttpRequest,
    follower: Follower,
    batches: Batches[T],
    renderer: Callable[[Place, Sequence[T]], Renderer[T]],
) -> EventStream:
    """A stream that has read what there is before the answer begins, so that a point beyond the end can be refused.

    Raises:
        HttpError: nobody can follow now.
        NotFoundError: there is nothing to follow any more.
        Exception: what reading raises.
    """
    with ExitStack() as undoing:
        undoing.callback(follower.close)
        place = surface.take_place()
        undoing.callback(place.leave)
        recorded = await anext(batches, None)
        if recorded is None:
            raise NotFoundError("conversation")
        rendering = renderer(place, recorded)
        stream = EventStream(request, rendering, frames(surface, rendering, batches, recorded), follower, place)
        undoing.pop_all()
        return stream


async def followed_by_speech(
    frames: AsyncGenerator[bytes, None], rendering: Rendering, speaking: Speaking, app: AppView, key_id: UUID | None
) -> AsyncGenerator[bytes, None]:
    """These frames, and after a whole answer its sound; ``key_id`` is of the key that seals the answer."""
    async with aclosing(frames):
        async for frame in frames:
            yield frame
    if rendering.has_ended and not rendering.has_failed:
        async with aclosing(speaking.follow_up(app, rendering.answer, key_id)) as pieces:
            async for piece in pieces:
                yield rendering.spoken(piece)
        yield rendering.spoken_to_the_end()
