"""What a queue and a bus over NATS promise beyond the contract: of servers that go, forget, refuse and hang."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import nats
import nkeys
import pytest
from nats.aio.client import Client

from chatledger.adapters.queue import nats_connection
from chatledger.adapters.queue.nats_connection import NatsAccess, NatsConnection
from chatledger.adapters.queue.nats_tasks import MAX_DELIVERIES, NatsTaskQueue
from chatledger.application.background import Background
from chatledger.application.ports.queue import QueueItem, QueueUnavailableError, TaskQueue
from chatledger.application.system_clock import new_id
from chatledger.bootstrap.queues import Queues, nats_queues
from tests.contracts.adapters import NatsPlace
from tests.contracts.items import an_item, listen
from tests.contracts.test_task_queue import take
from tests.support.certificates import Authority

pytestmark = pytest.mark.nats

LEASE = 0.5
SOON = 20.0

Open = Callable[..., AbstractAsyncContextManager[Queues]]


@pytest.fixture
def open_queues(nats_place: NatsPlace) -> Open:
    """Opens what a process would, on the server that all tests share."""
    return partial(opened, urls=nats_place.urls, root=nats_place.root)


def opened(
    *, urls, root: str | None = None, replicas: int = 1, lease: float = LEASE, **access: object
) -> AbstractAsyncContextManager[Queues]:
    root = root or f"chatledger.{new_id().hex}"
    return nats_queues(NatsAccess(urls=tuple(urls), **access), root, name="a test", lease=lease, replicas=replicas)


async def published(queue: TaskQueue, item: QueueItem) -> None:
    """As the sweeper does: again and again, until it is taken."""
    async with asyncio.timeout(SOON):
        while True:
            with suppress(QueueUnavailableError):
                await queue.publish(item)
                return
            await asyncio.sleep(0.02)


def told_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("chatledger")]


async def works(queues: Queues) -> None:
    item = an_item()
    await published(queues.tasks, item)
    async with asyncio.timeout(SOON):
        while (await take(queues.tasks, 1))[0] != item:
            """What was there before."""


async def test_a_server_that_is_away_at_the_start_is_waited_for(new_nats, caplog) -> None:
    server = new_nats()
    try:
        async with asyncio.timeout(SOON), opened(urls=[server.url]) as queues:
            with pytest.raises(QueueUnavailableError):
                await queues.tasks.publish(an_item())
            queues.bus.publish(an_item())
            waiting = asyncio.create_task(take(queues.tasks, 1))
            server.start()
            item = an_item()
            await published(queues.tasks, item)
            assert await waiting == [item]
    finally:
        server.stop()
    assert [text.partition(":")[0] for text in told_of(caplog)] == ["NATS is away", "NATS is back"]


class LookedAt(NatsConnection):
    """Counts how often somebody looks whether it is there."""

    looks = 0

    @property
    def client(self) -> Client | None:
        self.looks += 1
        return super().client


async def test_a_connection_that_is_lost_and_not_yet_closed_is_waited_for(nats_server, monkeypatch) -> None:
    monkeypatch.setattr(nats_connection, "LOOK_AGAIN", 0.05)
    connection = LookedAt(NatsAccess(urls=(nats_server.url,)), "a test")
    async with asyncio.timeout(SOON), Background() as background:
        background.start(connection.run)
        lost = await connection.up()
        lost._status = Client.DISCONNECTED  # as while the library still wants to send
        before = connection.looks
        assert await connection.up() is not lost
        assert connection.looks - before <= 3


async def test_work_outlives_a_server_that_is_killed(new_nats) -> None:
    item = an_item()
    with new_nats() as server:
        async with asyncio.timeout(SOON), opened(urls=[server.url]) as queues:
            await queues.tasks.publish(item)
            server.kill()
            server.start()
            assert await take(queues.tasks, 1) == [item]


async def test_a_server_that_has_lost_its_store_gets_a_new_stream(new_nats) -> None:
    with new_nats() as server:
        async with asyncio.timeout(SOON), opened(urls=[server.url]) as queues:
            await works(queues)
            waiting = asyncio.create_task(take(queues.tasks, 1))
            server.kill()
            server.lose_store()
            server.start()
            item = an_item()
            await published(queues.tasks, item)
            assert await waiting == [item]


@pytest.mark.parametrize("what", ["stream", "consumer"])
async def test_a_stream_or_consumer_that_vanishes_is_made_anew(what: str, open_queues: Open, nats_place) -> None:
    stream = nats_place.root.replace(".", "-")
    async with asyncio.timeout(SOON), open_queues() as queues, await nats.connect(nats_place.urls[0]) as operator:
        await works(queues)
        waiting = asyncio.create_task(take(queues.tasks, 1))
        await asyncio.sleep(0)
        if what == "stream":
            await operator.jetstream().delete_stream(stream)
        else:
            await operator.jetstream().delete_consumer(stream, "workers")
        item = an_item()
        await published(queues.tasks, item)
        # What it was done with a moment ago, a new consumer may not know of.
        while await waiting != [item]:
            waiting = asyncio.create_task(take(queues.tasks, 1))


async def test_the_longest_lease_of_all_nodes_counts(open_queues: Open, nats_place, caplog) -> None:
    async with asyncio.timeout(SOON), await nats.connect(nats_place.urls[0]) as operator:
        for lease, counts in ((LEASE, LEASE), (2 * LEASE, 2 * LEASE), (LEASE, 2 * LEASE)):
            async with open_queues(lease=lease) as queues:
                await works(queues)
            stream = nats_place.root.replace(".", "-")
            there = await operator.jetstream().consumer_info(stream, "workers")
            assert there.config.backoff[0] == counts
    assert told_of(caplog) == ["lease is 0.5 here and 1 at other nodes, which counts: make them equal"]


async def test_what_a_process_has_that_says_nothing_another_gets(open_queues: Open, monkeypatch) -> None:
    async def say_nothing(_: NatsTaskQueue) -> None:
        """As one that hangs, or is gone."""

    item = an_item()
    async with asyncio.timeout(SOON), open_queues() as other:
        with monkeypatch.context() as hanging:
            hanging.setattr(NatsTaskQueue, "keep_alive", say_nothing)
            async with open_queues() as silent, aclosing(listen(silent.tasks)) as deliveries:
                await silent.tasks.publish(item)
                assert (await anext(deliveries)).item == item
                assert await take(other.tasks, 1) == [item]


async def test_what_comes_back_again_and_again_is_given_up(open_queues: Open) -> None:
    item, last = an_item(), an_item()
    async with asyncio.timeout(SOON), open_queues() as queues, aclosing(listen(queues.tasks)) as deliveries:
        await queues.tasks.publish(item)
        for _ in range(MAX_DELIVERIES):
            delivery = await anext(deliveries)
            assert delivery.item == item
            delivery.put_back(0)
        await queues.tasks.publish(last)
        delivery = await anext(deliveries)
        assert delivery.item == last
        delivery.done()
        assert await queues.tasks.publish(item) is True


async def test_many_that_wait_are_asked_for_at_once(open_queues: Open) -> None:
    taken = 0
    async with asyncio.timeout(SOON), open_queues() as queues:
        for _ in range(24):
            await queues.tasks.publish(an_item())
        while taken < 24:
            taken += len(await queues.tasks.take(8))
        assert queues.tasks._asked <= 4


async def test_what_comes_to_a_process_that_takes_no_more_does_not_come_to_it_again(
    open_queues: Open, nats_place
) -> None:
    item, stream = an_item(), nats_place.root.replace(".", "-")
    async with (
        asyncio.timeout(SOON),
        open_queues() as draining,
        open_queues() as other,
        await nats.connect(nats_place.urls[0]) as operator,
    ):

        async def deliveries() -> int:
            return (await operator.jetstream().consumer_info(stream, "workers")).delivered.consumer_seq

        waiting = asyncio.create_task(draining.tasks.take(8))
        while not draining.tasks._missing:  # noqa: ASYNC110 - it tells nobody that it has asked
            await asyncio.sleep(0.01)
        await draining.tasks.stop_taking()
        await waiting
        await other.tasks.publish(item)
        while not await deliveries():  # noqa: ASYNC110 - nor the server of what it has delivered
            await asyncio.sleep(0.01)
        assert await take(other.tasks, 1) == [item]
        assert await deliveries() == 2


async def test_two_ledgers_on_one_server_never_meet(open_queues: Open, nats_place) -> None:
    item = an_item()
    async with asyncio.timeout(SOON), open_queues() as here, opened(urls=nats_place.urls) as elsewhere:
        stranger, observed = elsewhere.bus.listen(item.message_id), []
        elsewhere.bus.observe_stops(observed.append)
        assert [await one.tasks.publish(item) for one in (here, elsewhere)] == [True, True]
        here.bus.publish(an_item(item.message_id, event="StopRequested"))
        assert await take(here.tasks, 1) == [item]
        assert await stranger.wait(0.05) is False
        assert observed == []
        assert await elsewhere.tasks.publish(item) is False


async def test_a_server_that_hangs_holds_nobody_up(new_nats) -> None:
    with new_nats() as server:
        async with asyncio.timeout(SOON), opened(urls=[server.url]) as queues:
            await works(queues)
            server.freeze()
            try:
                waiting = asyncio.create_task(take(queues.tasks, 1))
                while not queues.tasks.is_away:  # noqa: ASYNC110 - it is a question, not an event
                    await asyncio.sleep(0.01)
                with pytest.raises(QueueUnavailableError):
                    await queues.tasks.publish(an_item())
                for _ in range(20_000):
                    queues.bus.publish(an_item())
            finally:
                server.thaw()
            await published(queues.tasks, an_item())
            await waiting
            await works(queues)
            while queues.tasks.is_away:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_that_work_comes_again_is_noticed_though_nobody_waits_for_it(open_queues: Open) -> None:
    async with asyncio.timeout(SOON), open_queues() as queues:
        queues.tasks._tell("as after an answer that was none")
        queues.tasks._is_hungry.set()
        while queues.tasks.is_away:  # noqa: ASYNC110 - it is a question, not an event
            await asyncio.sleep(0.01)


# Who asks


SEED = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)


def public_of(seed: bytes) -> str:
    return nkeys.from_seed(bytearray(seed)).public_key.decode()


@pytest.mark.parametrize(
    ("users", "right", "wrong"),
    [
        (
            "authorization { user: ann, password: geheim }",
            {"user": "ann", "password": "geheim"},
            {"user": "ann", "password": "geheimnis"},
        ),
        ("authorization { token: geheim }", {"token": "geheim"}, {"token": "geheimnis"}),
        ("authorization { users: [ { nkey: %s } ] }", {"nkey_file": SEED}, {}),
    ],
    ids=["password", "token", "nkey"],
)
async def test_who_asks_has_to_show_it(users: str, right, wrong, new_nats, tmp_path: Path, caplog) -> None:
    if "nkey_file" in right:
        users, right = users % public_of(SEED), {"nkey_file": tmp_path / "seed"}
        right["nkey_file"].write_bytes(SEED)
    with new_nats(settings=[users]) as server:
        async with asyncio.timeout(SOON), opened(urls=[server.url], **right) as queues:
            await works(queues)
        assert not told_of(caplog)
        async with asyncio.timeout(SOON), opened(urls=[server.url], **wrong) as queues:
            with pytest.raises(QueueUnavailableError):
                await queues.tasks.publish(an_item())
    assert "Authorization Violation" in caplog.text
    assert "geheim" not in caplog.text


@pytest.mark.parametrize("content", ["", "no credentials"])
async def test_a_file_without_credentials_holds_nobody_up(content: str, nats_server, tmp_path: Path) -> None:
    (tmp_path / "ann.creds").write_text(content)
    async with asyncio.timeout(SOON), opened(urls=[nats_server.url], credentials_file=tmp_path / "ann.creds") as queues:
        with pytest.raises(QueueUnavailableError):
            await queues.tasks.publish(an_item())


PERMISSIONS = """authorization { users: [ { user: ann, password: geheim, permissions {
  publish: [
%s
  ]
  subscribe: [ "chatledger.>", "_INBOX.>" ]
} } ] }"""


async def test_the_permissions_of_the_documentation_are_enough(new_nats, caplog) -> None:
    page = (Path(__file__).parents[2] / "docs" / "nats.md").read_text()
    publish = page.partition("publish: [\n")[2].partition("\n  ]")[0]
    with new_nats(settings=[PERMISSIONS % publish]) as server:
        root = f"chatledger.{new_id().hex}"
        both = [opened(urls=[server.url], root=root, user="ann", password="geheim") for _ in range(2)]
        async with asyncio.timeout(SOON), both[0] as here, both[1] as there:
            await works(here)
            item = an_item()
            listener = there.bus.listen(item.message_id)
            here.bus.publish(item)
            assert await listener.wait(SOON) is True
    assert not told_of(caplog)


# TLS


async def test_tls_with_certificates_of_both(new_nats, tmp_path: Path, caplog) -> None:
    authority = Authority(tmp_path)
    (certificate, key), (own, own_key) = authority.sign("server"), authority.sign("client")
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{authority.file}", verify: true }}'
    with new_nats(settings=[tls]) as server:
        encrypted = server.url.replace("nats://", "tls://")
        access = {"ca_file": authority.file, "certificate_file": own, "key_file": own_key}
        async with asyncio.timeout(SOON), opened(urls=[encrypted], **access) as queues:
            await works(queues)
        assert not told_of(caplog)
        # Neither without a certificate of its own nor with a server that nobody vouches for.
        for less in ({"ca_file": authority.file}, {"certificate_file": own, "key_file": own_key}):
            async with asyncio.timeout(SOON), opened(urls=[encrypted], **less) as queues:
                with pytest.raises(QueueUnavailableError):
                    await queues.tasks.publish(an_item())


async def test_a_server_without_tls_is_told_nothing_if_tls_is_asked_for(caplog) -> None:
    heard = asyncio.Queue()
    async with (
        asyncio.timeout(SOON),
        plain_server(heard) as url,
        opened(urls=[url], user="ann", password="geheim") as queues,
    ):
        assert await heard.get() == b""
        with pytest.raises(QueueUnavailableError):
            await queues.tasks.publish(an_item())
    assert "the server speaks no TLS" in caplog.text


@asynccontextmanager
async def plain_server(heard: "asyncio.Queue[bytes]") -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.11.0","headers":true,"auth_required":true}\r\n')
        heard.put_nowait(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        yield f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"
