"""The control socket: how a command reaches the server that has the data folder open.

One JSON order a line in; out come any number of lines with how far it has come, then one with the outcome.
"""

import asyncio
import logging
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from chatledger.adapters.cli.console import REFUSED, CommandFailedError
from chatledger.adapters.cli.failures import foreseen
from chatledger.adapters.cli.orders import (
    Order,
    Orders,
    Ping,
    Rebuild,
    ReplayDeadLetters,
    RotateMasterKey,
    RotateUserKey,
    ServerInfo,
)
from chatledger.adapters.cli.people_orders import EraseUser

log = logging.getLogger(__name__)

T = TypeVar("T")

SOCKET_NAME = "control.sock"
LONGEST_ADDRESS = 100
"""Bytes; systems differ, the shortest bound is 104 with the byte that ends the text."""
RUNTIME_PREFIX = "chatledger-"

LONGEST_LINE = 1024 * 1024
MOST_CONNECTIONS = 16
SECONDS_FOR_AN_ORDER = 10.0
SECONDS_FOR_AN_ANSWER = 60.0
SECONDS_BETWEEN_NEWS = 600.0
SECONDS_FOR_A_PING = 3.0
SECONDS_BETWEEN_DRAWINGS = 0.1


class Progressed(msgspec.Struct, frozen=True, tag="progress"):
    """How far an order has come."""

    done: int
    total: int


class Succeeded(msgspec.Struct, frozen=True, tag="outcome"):
    """What came of an order, as JSON."""

    outcome: msgspec.Raw


class Failed(msgspec.Struct, frozen=True, tag="failure"):
    """Why an order was not carried out."""

    reason: str
    exit_code: int = REFUSED


Answer = Progressed | Succeeded | Failed

_encode = msgspec.json.Encoder().encode
_decode_order = msgspec.json.Decoder(Order).decode
_decode_answer = msgspec.json.Decoder(Answer).decode


class NoServerError(Exception):
    """Nobody listens at the control socket."""


# Where it is


@contextmanager
def _bound(folder: Path) -> Iterator[socket.socket]:
    """A listening socket, as ``control.sock`` in the folder.

    The caller holds the folder's lock, so whatever stands there belongs to a server that is dead. Where the path is too
    long for a socket's address, the socket lies in a private folder of its own and a link leads to it.
    """
    entry = folder.absolute() / SOCKET_NAME
    _clear_away(entry)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        address = entry
        if _is_too_long(entry):
            address = Path(tempfile.mkdtemp(prefix=RUNTIME_PREFIX)) / SOCKET_NAME
            entry.symlink_to(address)
        listening.bind(str(address))
        address.chmod(0o600)
        listening.listen(MOST_CONNECTIONS)
        listening.settimeout(0)
        yield listening
    finally:
        listening.close()
        _clear_away(entry)


def _clear_away(entry: Path) -> None:
    if entry.is_symlink():
        runtime_folder = entry.readlink().parent
        if runtime_folder.name.startswith(RUNTIME_PREFIX):
            shutil.rmtree(runtime_folder, ignore_errors=True)
    entry.unlink(missing_ok=True)


def _is_too_long(path: Path) -> bool:
    return len(bytes(path)) > LONGEST_ADDRESS


# The server's side


class ControlSocket:
    """Takes orders from the commands of whoever may read the data folder."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._connections: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MOST_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            log.info("control: a command went away")
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, drawn_at = asyncio.get_running_loop(), 0.0

        def tell(done: int, total: int) -> None:
            nonlocal drawn_at
            if done >= total or loop.time() - drawn_at >= SECONDS_BETWEEN_DRAWINGS:
                drawn_at = loop.time()
                writer.write(_line(Progressed(done, total)))

        try:
            async with asyncio.timeout(SECONDS_FOR_AN_ORDER):
                line = await reader.readuntil(b"\n")
            answer = await self._carry_out(_decode_order(line), tell)
        except (asyncio.LimitOverrunError, msgspec.DecodeError):
            answer = Failed("the server does not understand this command: is it of another release?")
        writer.write(_line(answer))
        async with asyncio.timeout(SECONDS_FOR_AN_ORDER):
            await writer.drain()

    async def _carry_out(self, order: Order, tell: Callable[[int, int], None]) -> Answer:
        name = order.__struct_config__.tag
        try:
            outcome = await self._orders.carry_out(order, tell)
        except Exception as error:
            failure = foreseen(error)
            if failure is None:
                log.exception("control: %s failed", name)
                return Failed("the server could not do it; its log says why")
            return Failed(str(failure), failure.exit_code)
        if not isinstance(order, Ping):
            log.info("control: %s", name)
        return Succeeded(msgspec.Raw(_encode(outcome)))

    async def close(self) -> None:
        """Let what was ordered end."""
        if self._connections:
            await asyncio.wait(self._connections, timeout=SECONDS_FOR_AN_ORDER)

    @asynccontextmanager
    async def listen(self, folder: Path) -> AsyncIterator[None]:
        """Take orders while inside."""
        with _bound(folder) as listening:
            server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LONGEST_LINE)
            try:
                yield
            finally:
                server.close()
                await self.close()


def _line(answer: Answer) -> bytes:
    return _encode(answer) + b"\n"


# The command's side


def ask_server(
    folder: Path, order: Order, outcome: type[T], progress: Callable[[int, int], None] = lambda _done, _total: None
) -> T:
    """Have the running server carry out an order.

    Raises:
        NoServerError: no server listens in this folder.
        CommandFailedError: the server refused, or did not answer in time.
    """
    with _connected(folder) as connection:
        connection.settimeout(_patience(order))
        try:
            connection.sendall(_encode(order) + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    match _decode_answer(line):
                        case Progressed(done, total):
                            progress(done, total)
                        case Failed(reason, exit_code):
                            raise CommandFailedError(reason, exit_code)
                        case Succeeded(raw):
                            return msgspec.json.decode(raw, type=outcome)
        except TimeoutError:
            raise CommandFailedError("the running server does not answer") from None
        except (OSError, msgspec.DecodeError) as error:
            raise CommandFailedError(f"the running server broke off: {error}") from error
    raise CommandFailedError("the running server broke off")


def ping(folder: Path) -> ServerInfo:
    """Who has this folder open.

    Raises:
        NoServerError: no server listens in this folder.
        CommandFailedError: one is there, but does not answer.
    """
    return ask_server(folder, Ping(), ServerInfo)


@contextmanager
def _connected(folder: Path) -> Iterator[socket.socket]:
    entry = folder.absolute() / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS_FOR_A_PING)
        try:
            connection.connect(str(entry.readlink() if entry.is_symlink() else entry))
        except OSError as error:
            raise NoServerError(str(entry)) from error
        yield connection


def _patience(order: Order) -> float:
    match order:
        case Ping():
            return SECONDS_FOR_A_PING
        case Rebuild() | ReplayDeadLetters() | RotateMasterKey() | RotateUserKey() | EraseUser():
            return SECONDS_BETWEEN_NEWS
        case _:
            return SECONDS_FOR_AN_ANSWER
