"""A network that misbehaves as a test wants it to: a TCP proxy on the loopback."""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Literal, Self

Direction = Literal["to_server", "to_client"]

PIECE = 65_536


class Trap:
    """Where a connection is to be cut, once: the first connection that comes there is, whichever it is.

    Attributes:
        sprung: it was cut.
    """

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.sprung = asyncio.Event()

    def reach(self, connection: object, piece: bytes) -> int | None:
        """How much of this piece still passes before the cut; None if all of it passes and there is no cut."""
        raise NotImplementedError


class AfterBytes(Trap):
    """When so many bytes have passed, of all connections together."""

    def __init__(self, count: int, direction: Direction) -> None:
        super().__init__(direction)
        self._left = count

    def reach(self, connection: object, piece: bytes) -> int | None:
        if len(piece) < self._left:
            self._left -= len(piece)
            return None
        return self._left


class AtPattern(Trap):
    """When these bytes come by, before or after they are passed on, also where they come in two pieces.

    What is passed on is passed on with all that came with it, so that a message is whole.
    """

    def __init__(self, pattern: bytes, direction: Direction, when: Literal["before", "after"]) -> None:
        super().__init__(direction)
        self._pattern = pattern
        self._when = when
        self._seen: dict[object, bytes] = {}

    def reach(self, connection: object, piece: bytes) -> int | None:
        before = self._seen.get(connection, b"")
        found = (before + piece).find(self._pattern)
        if found < 0:
            self._seen[connection] = (before + piece)[-len(self._pattern) + 1 :] if len(self._pattern) > 1 else b""
            return None
        return len(piece) if self._when == "after" else max(0, found - len(before))


class ToxicProxy:
    """Passes on what it is sent, as long as it is healthy. It lives in the event loop; its clients may be blocking.

    Args:
        port: of the server that it stands before, on the loopback.

    Attributes:
        port: where to connect instead.
        latency: seconds that each piece takes, in either direction.
        refuse: whether new connections are broken at once.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.latency = 0.0
        self.refuse = False
        self._server_port = port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._traps: list[Trap] = []
        self._connections: dict[asyncio.Task[None], _Ends] = {}

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        connections = list(self._connections)
        self.cut()
        await asyncio.gather(*connections, return_exceptions=True)
        await self._listener.wait_closed()

    def stall(self) -> None:
        """Pass nothing on and keep every connection open, as a cable that was pulled does."""
        self._flowing.clear()

    def flow(self) -> None:
        """Pass on again, beginning with what was held back."""
        self._flowing.set()

    def cut(self) -> None:
        """Break every connection, on both sides, at once."""
        for connection, ends in self._connections.items():
            ends.reset()
            connection.cancel()

    def cut_after(self, count: int, direction: Direction) -> Trap:
        """Break a connection when so many more bytes have passed."""
        return self._set(AfterBytes(count, direction))

    def cut_at(self, pattern: bytes, direction: Direction, when: Literal["before", "after"] = "after") -> Trap:
        """Break a connection when these bytes come by: before they pass, or as soon as they have."""
        return self._set(AtPattern(pattern, direction, when))

    def _set(self, trap: Trap) -> Trap:
        self._traps.append(trap)
        return trap

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = _Ends(writer)
        connection = asyncio.create_task(self._hold(reader, ends))
        self._connections[connection] = ends
        connection.add_done_callback(self._connections.pop)

    async def _hold(self, reader: asyncio.StreamReader, ends: "_Ends") -> None:
        try:
            if self.refuse:
                return
            answers, ends.to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            async with asyncio.TaskGroup() as pipes:
                pipes.create_task(self._pipe(reader, ends.to_server, "to_server", ends))
                pipes.create_task(self._pipe(answers, ends.to_client, "to_client", ends))
        except* (OSError, _CutError):
            pass
        finally:
            ends.reset()

    async def _pipe(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, direction: Direction, ends: "_Ends"
    ) -> None:
        while piece := await source.read(PIECE):
            await self._flowing.wait()
            await asyncio.sleep(self.latency)
            for trap in [trap for trap in self._traps if trap.direction == direction]:
                passing = trap.reach(ends, piece)
                if passing is not None:
                    self._traps.remove(trap)
                    await ends.finish(target, piece[:passing])
                    trap.sprung.set()
                    raise _CutError
            target.write(piece)
            await target.drain()
        with suppress(OSError):
            target.write_eof()


class _CutError(Exception):
    """A trap was reached."""


class _Ends:
    """The two sides of a connection, to the client and, once there is one, to the server."""

    def __init__(self, to_client: asyncio.StreamWriter) -> None:
        self.to_client = to_client
        self.to_server: asyncio.StreamWriter | None = None

    async def finish(self, target: asyncio.StreamWriter, last: bytes) -> None:
        """Let the last bytes arrive; whatever the other side sends is lost."""
        if last:
            target.write(last)
            target.transport.set_write_buffer_limits(0)
            await target.drain()
        if target is self.to_server:
            target.close()  # a reset might overtake what the server has yet to read

    def reset(self) -> None:
        """Break what is still open, so that it is told of an error and not of an end."""
        for writer in (self.to_client, self.to_server):
            if writer is not None and not writer.transport.is_closing():
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
