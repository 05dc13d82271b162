"""The proxy that plays the bad network: what passes, what is held back, and where it cuts."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio

from tests.support.postgres import PostgresServer
from tests.support.toxic import ToxicProxy

pytestmark = pytest.mark.faults

SOON = 5.0
A_WHILE = 0.2


class Recorder:
    """A server that keeps what it is sent, answers each piece with ``answer``, and knows how each connection ended."""

    def __init__(self) -> None:
        self.received = b""
        self.answer = b""
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65_536):
                self.received += piece
                writer.write(self.answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.ended.set()
            writer.close()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    recorder.listening = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    async with recorder.listening:
        yield recorder


@pytest_asyncio.fixture
async def proxy(server: Recorder) -> AsyncIterator[ToxicProxy]:
    async with ToxicProxy(server.listening.sockets[0].getsockname()[1]) as proxy:
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, proxy: ToxicProxy) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", proxy.port))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), SOON)

    async def is_cut(self) -> bool:
        """Whether it ends in an error after what has come already."""
        try:
            await asyncio.wait_for(self.reader.read(), SOON)
        except ConnectionResetError:
            return True
        finally:
            self._writer.close()
        return False


async def test_a_healthy_one_changes_nothing_and_passes_the_end_on(server: Recorder, proxy: ToxicProxy) -> None:
    server.answer = b"yes"
    client = await Client.connect(proxy)
    await client.send(b"hello")
    assert await client.receive(3) == b"yes"
    client._writer.write_eof()
    await asyncio.wait_for(server.ended.wait(), SOON)
    assert not await client.is_cut()
    assert server.received == b"hello"


async def test_latency_delays_and_loses_nothing(server: Recorder, proxy: ToxicProxy) -> None:
    server.answer = b"yes"
    client = await Client.connect(proxy)
    proxy.latency = A_WHILE
    began = asyncio.get_running_loop().time()
    await client.send(b"hello")
    assert await client.receive(3) == b"yes"
    assert asyncio.get_running_loop().time() - began >= 2 * A_WHILE
    client._writer.close()


async def test_a_stalled_connection_stays_open_and_goes_on(server: Recorder, proxy: ToxicProxy) -> None:
    server.answer = b"yes"
    client = await Client.connect(proxy)
    proxy.stall()
    await client.send(b"hello")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.reader.read(1), A_WHILE)
    assert server.received == b""
    proxy.flow()
    assert await client.receive(3) == b"yes"
    client._writer.close()


@pytest.mark.parametrize("stalled", [False, True])
async def test_a_cut_breaks_both_sides(server: Recorder, proxy: ToxicProxy, stalled: bool) -> None:
    server.answer = b"yes"
    client = await Client.connect(proxy)
    await client.send(b"hello")
    await client.receive(3)
    if stalled:
        proxy.stall()
        await client.send(b"never arrives")
        await asyncio.sleep(0)
    proxy.cut()
    assert await client.is_cut()
    await asyncio.wait_for(server.ended.wait(), SOON)
    assert server.received == b"hello"


async def test_who_is_refused_is_told(server: Recorder, proxy: ToxicProxy) -> None:
    proxy.refuse = True
    assert await (await Client.connect(proxy)).is_cut()
    proxy.refuse = False
    server.answer = b"yes"
    client = await Client.connect(proxy)
    await client.send(b"hello")
    assert await client.receive(3) == b"yes"
    client._writer.close()


async def test_a_server_that_is_away_is_a_connection_that_breaks(server: Recorder, proxy: ToxicProxy) -> None:
    server.listening.close()
    await server.listening.wait_closed()
    assert await (await Client.connect(proxy)).is_cut()


async def test_a_cut_after_some_bytes_to_the_server(server: Recorder, proxy: ToxicProxy) -> None:
    client = await Client.connect(proxy)
    trap = proxy.cut_after(7, "to_server")
    await client.send(b"hello")
    await client.send(b" world")
    assert await client.is_cut()
    assert trap.sprung.is_set()
    await asyncio.wait_for(server.ended.wait(), SOON)
    assert server.received == b"hello w"


async def test_a_cut_after_some_bytes_to_the_client(server: Recorder, proxy: ToxicProxy) -> None:
    server.answer = b"hello world"
    client = await Client.connect(proxy)
    proxy.cut_after(7, "to_client")
    await client.send(b"?")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)) as caught:
        await client.receive(8)
    if isinstance(caught.value, asyncio.IncompleteReadError):
        assert caught.value.partial == b"hello w"
    assert server.received == b"?"
    client._writer.close()


@pytest.mark.parametrize(
    ("pieces", "when", "received"),
    [
        ([b"BEGIN;", b"x COMMIT;"], "before", b"BEGIN;x "),
        ([b"BEGIN;", b"x COMMIT;"], "after", b"BEGIN;x COMMIT;"),
        ([b"BEGIN;x COM", b"MIT;"], "before", b"BEGIN;x COM"),
        ([b"BEGIN;x COM", b"MIT;"], "after", b"BEGIN;x COMMIT;"),
    ],
)
async def test_a_cut_where_a_pattern_comes_by(
    server: Recorder, proxy: ToxicProxy, pieces: list[bytes], when: str, received: bytes
) -> None:
    server.answer = b"."
    client = await Client.connect(proxy)
    trap = proxy.cut_at(b"COMMIT", "to_server", when)
    await client.send(pieces[0])
    await client.receive(1)
    assert not trap.sprung.is_set()
    await client.send(pieces[1])
    assert await client.is_cut()
    assert trap.sprung.is_set()
    await asyncio.wait_for(server.ended.wait(), SOON)
    assert server.received == received


async def test_a_trap_cuts_one_connection_once(server: Recorder, proxy: ToxicProxy) -> None:
    server.answer = b"yes"
    one, other = [await Client.connect(proxy) for _ in range(2)]
    proxy.cut_at(b"cut", "to_server")
    await one.send(b"cut")
    assert await one.is_cut()
    await other.send(b"cut")
    assert await other.receive(3) == b"yes"
    other._writer.close()


# The use that it is made for: a database whose client is a thread that waits.


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("direction", "when", "stored"),
    [("to_server", "before", 0), ("to_server", "after", 1), ("to_client", "before", 1)],
    ids=["the commit does not arrive", "the commit is passed on", "the answer is lost"],
)
async def test_a_commit_that_is_cut(
    postgres_server: PostgresServer, postgres_url: str, direction: str, when: str, stored: int
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as direct:
        direct.execute("CREATE TABLE notes (text TEXT)")
        async with ToxicProxy(postgres_server.port) as proxy:
            url = postgres_url.replace(f":{postgres_server.port}/", f":{proxy.port}/")

            def insert() -> None:
                with psycopg.connect(url) as connection:
                    connection.execute("INSERT INTO notes VALUES ('a note')")

            await asyncio.to_thread(insert)
            trap = proxy.cut_at(b"COMMIT", direction, when)
            with pytest.raises(psycopg.OperationalError):
                await asyncio.to_thread(insert)
            assert trap.sprung.is_set()
        # The server may not have noticed yet: what it holds is free when it has.
        with direct.transaction():
            direct.execute("LOCK TABLE notes")
            (count,) = direct.execute("SELECT count(*) - 1 FROM notes").fetchone()
    assert count == stored
