"""Sending to endpoints over HTTP/1.1, by httpcore: below redirects, proxies and cookies, where addresses are chosen."""

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import cast
from urllib.parse import urlsplit

import httpcore2

from chatledger.adapters.webhooks.addresses import AddressGuard, Network, Resolve, SystemNames
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.webhooks import AddressRefusedError, NotSentError, Reply, Unsent
from chatledger.application.waiting import read_retry_after
from chatledger.version import __version__

LARGEST_REPLY = 16 * 1024
"""Bytes. Nobody reads what an endpoint says; up to here it is taken in, so that the connection can be used again."""

KEPT_ALIVE = 5.0
"""Seconds that a connection waits for another delivery. It leads to the address that was checked when it was made."""

CONNECTIONS = 256

_BROKEN = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol)
_TOO_LATE = (TimeoutError, httpcore2.TimeoutException)


class HttpWebhookSender:
    """Sends to endpoints.

    Args:
        clock: what a date in ``Retry-After`` is compared with.
        timeout: seconds for all of a delivery: the name, the connection, the body and the reply.
        allowed: networks that may be sent to though they are not public.
        resolve: asks for the addresses of a host; the system, by default.
        tls: what certificates are checked by; the system's store of them by default.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        timeout: float = 15.0,
        allowed: Sequence[Network] = (),
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._names = SystemNames()
        self._guard = AddressGuard(resolve or self._names.resolve, allowed)
        self._tls = tls
        self._pools: dict[str, httpcore2.AsyncConnectionPool] = {}

    async def require_allowed(self, url: str) -> None:
        """Let a URL pass that something may be sent to, as its host's name is resolved now.

        Raises:
            AddressRefusedError: it may not.
        """
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(self._timeout):
                await self._guard.addresses(parts.hostname or "", port, in_clear=parts.scheme == "http")
        except TimeoutError as error:
            raise AddressRefusedError("the host has no address") from error

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST a body. The status is the reply, whether or not what follows it arrives.

        Raises:
            NotSentError: there is no reply.
        """
        sent = {"user-agent": f"chatledger/{__version__}", "content-length": str(len(body)), **headers}
        raw_headers = [(name.encode(), value.encode()) for name, value in sent.items()]
        pool, reply, failure = self._pool(urlsplit(url).scheme), None, None
        try:
            async with (
                asyncio.timeout(self._timeout),
                pool.stream("POST", url, headers=raw_headers, content=body) as response,
            ):
                reply = Reply(response.status, self._retry_after(response.headers))
                await _take_in(response)
        except (*_TOO_LATE, *_BROKEN) as error:
            failure = error
        if reply is None:
            raise NotSentError(_reason(failure)) from failure
        return reply

    def _pool(self, scheme: str) -> httpcore2.AsyncConnectionPool:
        if scheme not in self._pools:
            self._pools[scheme] = httpcore2.AsyncConnectionPool(
                ssl_context=self._tls_context,
                max_connections=CONNECTIONS,
                keepalive_expiry=KEPT_ALIVE,
                network_backend=_GuardedNetwork(self._guard, in_clear=scheme != "https"),
            )
        return self._pools[scheme]

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        return self._tls or httpcore2.default_ssl_context()

    def _retry_after(self, headers: Iterable[tuple[bytes, bytes]]) -> float | None:
        """The seconds for which an endpoint wants to be left alone."""
        given = next((value.decode("latin-1") for name, value in headers if name.lower() == b"retry-after"), "")
        return read_retry_after(given, self._clock.now().timestamp())

    async def close(self) -> None:
        """Give every connection back."""
        for pool in self._pools.values():
            await pool.aclose()
        self._names.close()


async def _take_in(response: httpcore2.Response) -> None:
    taken = 0
    async for piece in response.aiter_stream():
        taken += len(piece)
        if taken > LARGEST_REPLY:
            return


def _reason(failure: Exception | None) -> Unsent:
    if isinstance(failure, _TOO_LATE):
        return "timeout"
    return "unreachable" if isinstance(failure, httpcore2.ConnectError) else "broken"


class _GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were checked, never to a name: nobody can give the name another address meanwhile."""

    def __init__(self, guard: AddressGuard, *, in_clear: bool) -> None:
        self._guard = guard
        self._in_clear = in_clear
        # The library names it twice, once for those who have no anyio: type checkers take that one.
        self._network = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first of the host's addresses that takes one. TLS, above it, is still with the name."""
        failure: httpcore2.ConnectError | None = None
        for address in await self._guard.addresses(host, port, in_clear=self._in_clear):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore2.ConnectError as error:
                failure = error
        raise failure or httpcore2.ConnectError

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
