"""Answers that are made piece by piece, as the client takes them."""

from collections.abc import AsyncGenerator

from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Scope, Send

from chatledger.adapters.http.surface import Place, Surface


class PieceStream(ASGIStreamingResponse):
    """Pieces, and the place of whoever waits for them; given back whatever becomes of it."""

    __slots__ = ("_pieces", "_place")

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        place: Place,
        *,
        status: int,
        media_type: str,
        headers: dict[str, str],
    ) -> None:
        super().__init__(iterator=pieces, status_code=status, media_type=media_type, headers=headers)
        self._pieces = pieces
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._place.leave()
            await self._pieces.aclose()


async def streamed(
    surface: Surface, pieces: AsyncGenerator[bytes, None], *, status: int, media_type: str, headers: dict[str, str]
) -> ASGIResponse:
    """These pieces, of which there has to be one. The first is at hand before the answer begins.

    Raises:
        HttpError: nobody can wait for them now.
        Exception: what making the first one raises.
    """
    place = surface.take_place()
    try:
        first = await anext(pieces)
    except BaseException:
        place.leave()
        await pieces.aclose()
        raise
    return PieceStream(_after(first, pieces), place, status=status, media_type=media_type, headers=headers)


async def _after(first: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        yield first
        async for piece in pieces:
            yield piece
    finally:
        await pieces.aclose()
