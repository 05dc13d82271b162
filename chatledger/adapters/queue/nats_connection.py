"""One connection to a NATS server or cluster, made again for as long as it takes, by the library ``nats-py``."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import nats.errors
from nats.aio.client import Client, RawCredentials

from chatledger.application.fault_report import describe

log = logging.getLogger(__name__)

CONNECT_WITHIN = 2
RECONNECT_PAUSE = 0.2
PING_INTERVAL = 3
PINGS_UNANSWERED = 2
"""A server that hangs is given up after so many pings."""
LOOK_AGAIN = 1.0
CLOSE_WITHIN = 1

TROUBLE = (nats.errors.Error, OSError, TimeoutError)
"""What every use of a connection may raise."""


class NatsAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Where the servers are, and who asks. Whatever is in a file is read anew for each connection.

    Attributes:
        urls: all ``nats://host:port`` or all ``tls://host:port``, which is never spoken to without TLS.
        nkey_file: the seed of an nkey.
        credentials_file: what ``nsc`` makes: a JWT and the seed of its nkey.
        ca_file: who signs the servers' certificates, if it is none of those that the machine trusts.
        certificate_file: the client's own, with ``key_file``.
    """

    urls: tuple[str, ...]
    user: str | None = None
    password: str | None = None
    token: str | None = None
    nkey_file: Path | None = None
    credentials_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __repr__(self) -> str:
        """Without a secret."""
        return f"NatsAccess({', '.join(self.urls)})"

    @property
    def is_encrypted(self) -> bool:
        """Whether it is TLS that is asked for."""
        return self.urls[0].startswith("tls://")

    def options(self) -> dict[str, Any]:
        """What the library is told of it. Reads files.

        Raises:
            OSError: one of the files cannot be read.
            ValueError: one of them is not what it should be.
        """
        options: dict[str, Any] = {"user": self.user, "password": self.password, "token": self.token}
        if self.nkey_file is not None:
            options["nkeys_seed_str"] = self.nkey_file.read_text(encoding="utf-8")
        if self.credentials_file is not None:
            credentials = self.credentials_file.read_text(encoding="utf-8")
            if "BEGIN NATS USER JWT" not in credentials or "BEGIN USER NKEY SEED" not in credentials:
                # The library would look for them for ever.
                raise ValueError("holds no credentials")
            options["user_credentials"] = RawCredentials(credentials)
        if self.is_encrypted:
            options["tls"] = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                options["tls"].load_cert_chain(self.certificate_file, self.key_file)
        return options


class NoTlsError(nats.errors.Error):
    """TLS was asked for, and the server does not offer it."""

    def __str__(self) -> str:
        """What is wrong."""
        return "the server speaks no TLS"


class _Client(Client):
    """The library's client, and two things that it leaves out."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's
        """Tell a server nothing before TLS stands, if it was asked for. The library leaves that to the server."""
        if initial_connection and "tls" in self.options and not info.get("tls_required"):
            raise NoTlsError
        await super()._process_info(info, initial_connection)

    def abort(self) -> None:
        """Let go of the socket, whatever is still to be sent: closing may hang with a server that does."""
        for name in ("_io_writer", "_bare_io_writer"):
            writer = getattr(self._transport, name, None)
            if writer is not None:
                writer.transport.abort()


class NatsConnection:
    """One connection at a time. :meth:`run` makes it, and another one whenever it is lost.

    The library's own reconnecting is not used: it ends for good when a server refuses it in certain ways.
    """

    def __init__(self, access: NatsAccess, name: str) -> None:
        """Take the name that the servers know this process by."""
        self._access = access
        self._name = name
        self._client: Client | None = None
        self._is_up, self._is_tried = asyncio.Event(), asyncio.Event()
        self._is_told = False
        self._last_reason = ""
        self._preparations: list[Callable[[Client], Awaitable[None]]] = []

    @property
    def client(self) -> Client | None:
        """The connection that there is now, if there is one."""
        client = self._client
        return client if client is not None and client.is_connected else None

    async def up(self) -> Client:
        """The connection, as soon as there is one."""
        while (client := self.client) is None:
            self._is_up.clear()
            await self._is_up.wait()
        return client

    def prepare(self, preparation: Callable[[Client], Awaitable[None]]) -> None:
        """Let this be done on each new connection before anything else is."""
        self._preparations.append(preparation)

    async def tried(self) -> None:
        """Wait until there is a connection, or it is known that there is none yet."""
        await self._is_tried.wait()

    async def run(self) -> None:
        """Connect, for ever."""
        while True:
            await self._connect_once()
            await asyncio.sleep(RECONNECT_PAUSE)

    async def _connect_once(self) -> None:
        client, is_closed = _Client(), asyncio.Event()

        async def hear_end() -> None:
            is_closed.set()

        try:
            options = await asyncio.to_thread(self._access.options)
            await client.connect(
                list(self._access.urls),
                name=self._name,
                allow_reconnect=False,
                connect_timeout=CONNECT_WITHIN,
                ping_interval=PING_INTERVAL,
                max_outstanding_pings=PINGS_UNANSWERED,
                no_echo=True,
                error_cb=self._hear_error,
                closed_cb=hear_end,
                **options,
            )
            for prepare in self._preparations:
                await prepare(client)
            # Twice: the library's ping overtakes what it has not sent yet.
            await client.flush(timeout=CONNECT_WITHIN)
            await client.flush(timeout=CONNECT_WITHIN)
            self._tell_here(client)
            # What was closed is not always told: the library may wait to get rid of what it has still to send.
            while client.is_connected:
                with suppress(TimeoutError):
                    await asyncio.wait_for(is_closed.wait(), LOOK_AGAIN)
            self._tell_away(client.last_error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            self._tell_away(error)
        finally:
            self._client = None
            await _close(client)

    def _tell_here(self, client: Client) -> None:
        self._client = client
        self._is_up.set()
        self._is_tried.set()
        if self._is_told:
            log.warning("NATS is back")
            self._is_told = False

    async def _hear_error(self, error: Exception) -> None:
        """Of a server that could not be reached, or of one thing that went wrong on a connection that goes on."""
        if self._client is None:
            self._tell_away(error)
        elif (reason := _reason(error)) != self._last_reason:
            self._last_reason = reason
            log.warning("NATS: %s", reason)

    def _tell_away(self, error: Exception | None) -> None:
        self._is_tried.set()
        if not self._is_told:
            self._is_told = True
            log.warning("NATS is away: %s", "the connection is lost" if error is None else _reason(error))


async def _close(client: _Client) -> None:
    try:
        with suppress(*TROUBLE):
            async with asyncio.timeout(CLOSE_WITHIN):
                if client.is_connected:
                    await client.flush(timeout=CLOSE_WITHIN)
        with suppress(*TROUBLE):
            async with asyncio.timeout(CLOSE_WITHIN):
                await client.close()
    finally:
        client.abort()


def _reason(error: Exception) -> str:
    """Servers and the system quote no secret; of anything else only the place is told."""
    return f"{type(error).__name__}: {error}" if isinstance(error, TROUBLE) else describe(error)
