"""Where nothing is sent to: addresses that are not public, however they are written and whoever resolves to them."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network

import pytest

from chatledger.adapters.webhooks.addresses import AddressGuard, SystemNames, is_public
from chatledger.application.ports.webhooks import AddressRefusedError

REFUSED = {
    "this network": ["0.0.0.0", "0.1.2.3"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%eth0"],
    "metadata": ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "protocol assignments": ["192.0.0.1", "2001::1", "2001:2::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "4000::1"],
    "unspecified": ["::"],
    "site-local": ["fec0::1"],
    "discarded": ["100::1"],
    "relays of 6to4": ["192.88.99.1"],
    "segments": ["5f00::1"],
    "IPv4 mapped": ["::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::ffff:7f00:1"],
    "IPv4 compatible": ["::127.0.0.1", "::10.0.0.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::808:808"],
    "6to4": ["2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:0a00:0001::"],
    "Teredo": ["2001:0:7f00:1::f5ff:fffe"],
}
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


def resolving_to(*addresses: str):
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return addresses

    return resolve


@pytest.mark.parametrize("address", [address for addresses in REFUSED.values() for address in addresses])
async def test_what_is_not_public_is_refused(address):
    assert not is_public(ip_address(address))
    with pytest.raises(AddressRefusedError):
        await AddressGuard(resolve=resolving_to(address)).addresses("a.name", 443, in_clear=False)


@pytest.mark.parametrize("address", PUBLIC)
async def test_what_is_public_passes(address):
    assert is_public(ip_address(address))
    guard = AddressGuard(resolve=resolving_to(address))
    assert await guard.addresses("a.name", 443, in_clear=False) == [str(ip_address(address))]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "::1", "::ffff:127.0.0.1"]
)
async def test_the_systems_own_spellings_of_the_loopback_are_refused(host):
    with pytest.raises(AddressRefusedError):
        await AddressGuard(SystemNames().resolve).addresses(host, 443, in_clear=False)


async def test_one_address_that_is_not_public_spoils_the_others():
    guard = AddressGuard(resolve=resolving_to("8.8.8.8", "10.0.0.1"))
    with pytest.raises(AddressRefusedError, match="public"):
        await guard.addresses("a.name", 443, in_clear=False)


@pytest.mark.parametrize("addresses", [(), ("not an address",)])
async def test_a_host_without_an_address_is_refused(addresses):
    with pytest.raises(AddressRefusedError, match="no address"):
        await AddressGuard(resolve=resolving_to(*addresses)).addresses("a.name", 443, in_clear=False)


@pytest.mark.parametrize("host", ["", "a..b", "a" * 64 + ".test", "no such host", "xn--\x00"])
async def test_a_name_that_cannot_be_one_is_refused(host):
    with pytest.raises(AddressRefusedError):
        await AddressGuard(SystemNames().resolve).addresses(host, 443, in_clear=False)


async def test_allowed_networks_pass_and_nothing_beside_them():
    guard = AddressGuard(resolving_to("10.1.2.3", "::1"), [ip_network("10.1.0.0/16"), ip_network("::1/128")])
    assert await guard.addresses("a.name", 80, in_clear=True) == ["10.1.2.3", "::1"]
    mapped = AddressGuard(resolving_to("::ffff:10.1.2.3"), [ip_network("10.1.0.0/16")])
    assert await mapped.addresses("a.name", 80, in_clear=True)
    beside = AddressGuard(resolving_to("10.2.0.1"), [ip_network("10.1.0.0/16")])
    with pytest.raises(AddressRefusedError):
        await beside.addresses("a.name", 80, in_clear=False)


async def test_a_public_address_is_not_told_anything_in_clear():
    with pytest.raises(AddressRefusedError, match="https"):
        await AddressGuard(resolve=resolving_to("8.8.8.8")).addresses("a.name", 80, in_clear=True)


async def test_a_name_server_that_says_nothing_holds_up_neither_other_names_nor_other_work(monkeypatch):
    silence, asked, names = threading.Event(), [], SystemNames()

    def ask(host: str, port: int, **_: object):
        asked.append(host)
        if host == "silent.example":
            silence.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    try:
        waiting = [asyncio.create_task(names.resolve("silent.example", 443)) for _ in range(50)]
        await asyncio.sleep(0)
        waiting.pop().cancel()
        async with asyncio.timeout(5):
            assert await names.resolve("other.example", 443) == ["8.8.8.8"]
            assert await asyncio.to_thread(lambda: "other work") == "other work"
    finally:
        silence.set()
    assert await asyncio.gather(*waiting) == [["8.8.8.8"]] * 49
    assert asked == ["silent.example", "other.example"]
    names.close()
