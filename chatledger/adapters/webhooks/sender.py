"""Sending to endpoints over HTTP/1.1, by httpcore: below redirects, proxies and cookies, where addresses are chosen."""

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import cast
from urllib.parse import urlsplit

import httpcore2

from chatledger.adapters.webhooks.addresses import AddressGuard, Network, Resolve, resolve
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.webhooks import AddressRefusedError, NotSentError, Reply
from chatledger.application.waiting import read_retry_after
from chatledger.version import __version__

LARGEST_REPLY = 16 * 1024
"""Bytes. Nobody reads what an endpoint says; up to here it is taken in, so that the connection can be used again."""

KEPT_ALIVE = 5.0
"""Seconds that a connection waits for another delivery. It leads to the address that was checked when it was made."""

CONNECTIONS = 256


class HttpWebhookSender:
    """Sends to endpoints.

    Args:
        clock: what a date in ``Retry-After`` is compared with.
        timeout: seconds for all of a delivery: the name, the connection, the body and the reply.
        allowed: networks that may be sent to though they are not public.
        resolve: asks for the addresses of a host.
        tls: what certificates are checked by; the system's store of them by default.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        timeout: float = 15.0,
        allowed: Sequence[Network] = (),
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._guard = AddressGuard(allowed, resolve)
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
        """POST a body.

        Raises:
            NotSentError: there is no reply.
        """
        sent = {"user-agent": f"chatledger/{__version__}", "content-length": str(len(body)), **headers}
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, [(name.encode(), value.encode()) for name, value in sent.items()], body)
        except (TimeoutError, httpcore2.TimeoutException) as error:
            raise NotSentError("timeout") from error
        except httpcore2.ConnectError as error:
            raise NotSentError("unreachable") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
            raise NotSentError("broken") from error

    async def _post(self, url: str, headers: list[tuple[bytes, bytes]], body: bytes) -> Reply:
        async with self._pool(urlsplit(url).scheme).stream("POST", url, headers=headers, content=body) as response:
            reply = Reply(response.status, self._retry_after(response.headers))
            taken = 0
            async for piece in response.aiter_stream():
                taken += len(piece)
                if taken > LARGEST_REPLY:
                    break
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
