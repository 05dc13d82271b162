"""Which addresses something may be sent to: public ones, and what the server's operator allows beside."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from chatledger.application.ports.webhooks import AddressRefusedError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "168.63.129.16/32",  # the host of an Azure machine, with its metadata, at an address like any other
        "192.0.0.0/24",  # protocol assignments (RFC 6890), the metadata of an Oracle machine among them
        "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
        "64:ff9b:1::/48",  # NAT64 within a network (RFC 8215)
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment identifiers (RFC 9602)
        "fec0::/10",  # site-local (RFC 3879)
    )
)
"""Beside those that the standard library knows, which differ from one release of Python to another."""

_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")


NAMES_AT_ONCE = 16
"""How many hosts the system is asked for at the same time."""


class SystemNames:
    """The addresses of hosts as the system knows them; a literal one is its own.

    It is asked in threads of its own, and for each host once at a time: a name server that says nothing holds up who
    waits for its names, and nobody else.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(NAMES_AT_ONCE, thread_name_prefix="names")
        self._asking: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host.

        Raises:
            OSError: there is no such name.
            UnicodeError: it cannot be one.
        """
        asked = host, port
        if asked not in self._asking:
            asking = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
            self._asking[asked] = asking
            asking.add_done_callback(lambda done: self._answered(asked, done))
        # Who waits no longer does not end the question: its thread is taken until there is an answer.
        answer, _ = await asyncio.wait([self._asking[asked]])
        return answer.pop().result()

    def _answered(self, asked: tuple[str, int], asking: "asyncio.Future[Sequence[str]]") -> None:
        del self._asking[asked]
        if not asking.cancelled():
            asking.exception()  # it is looked at, though nobody may be waiting any more

    def close(self) -> None:
        """Ask nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> Sequence[str]:
    return [str(place[0]) for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: Address) -> bool:
    """Whether an address belongs to nobody's own network: not private, loopback, link-local, shared or reserved.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4, Teredo) is what that one is.
    """
    if isinstance(address, IPv6Address) and (inner := [*_embedded(address)]):
        return all(is_public(one) for one in inner)
    is_special = any(address.version == network.version and address in network for network in _NOT_PUBLIC)
    return address.is_global and not (address.is_multicast or address.is_reserved or is_special)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo
    elif address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        yield IPv4Address(int(address) & 0xFFFF_FFFF)


class AddressGuard:
    """Finds the addresses of a host, and lets none pass unless all of them may be sent to.

    Args:
        resolve: asks for the addresses of a host.
        allowed: networks that may be sent to though they are not public.
    """

    def __init__(self, resolve: Resolve, allowed: Sequence[Network] = ()) -> None:
        self._allowed = allowed
        self._resolve = resolve

    async def addresses(self, host: str, port: int, *, in_clear: bool) -> Sequence[str]:
        """The addresses to connect to. What goes ``in_clear`` goes to those that are allowed by name only.

        Raises:
            AddressRefusedError: one of them may not be sent to, or there are none.
        """
        try:
            found = [ip_address(address) for address in await self._resolve(host, port)]
        except (OSError, ValueError) as error:  # no such name, or what cannot be one
            raise AddressRefusedError("the host has no address") from error
        if not found:
            raise AddressRefusedError("the host has no address")
        for address in found:
            if self._is_allowed(address):
                continue
            if in_clear:
                raise AddressRefusedError("what is sent to a public address has to be sent by https")
            if not is_public(address):
                raise AddressRefusedError("the host's address is not a public one")
        return [str(address) for address in found]

    def _is_allowed(self, address: Address) -> bool:
        inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        candidates = (address,) if inner is None else (address, inner)
        return any(
            candidate.version == network.version and candidate in network
            for candidate in candidates
            for network in self._allowed
        )
