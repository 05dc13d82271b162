"""The task queue on a work-queue stream of NATS JetStream.

Each work that waits is one message on a subject of its own, of which the stream holds one at most: so the same work
waits once, from its publication until its taker is done with it. Message ids would not do: JetStream refuses an id that
it has seen within a window of time, also when the work was taken and has to be published again.

JetStream acknowledges before it syncs, and may lose a stream: what was lost is published again by the sweeper. A stream
or a consumer that is not there is made anew, whenever that is noticed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NoStreamResponseError, NotFoundError

from chatledger.adapters.queue.nats_connection import TROUBLE, NatsConnection
from chatledger.adapters.queue.takers import Takers
from chatledger.application.ports.queue import Delivery, QueueFullError, QueueItem, QueueUnavailableError

log = logging.getLogger(__name__)

MAX_ASKING = 4_096
"""Processes that may wait for work at once."""
CONSUMER = "workers"
WAIT_FOR_DAYS = 1
"""Work that is older is nobody's any more: of a ledger that was given up."""

REDELIVERIES = (1, 2, 6, 12)
"""Leases until work is delivered again whose taker has not been heard of, at first and later; the last one repeats."""
BEATS = 3
"""Signs of life in the time of a lease."""
MAX_DELIVERIES = 10

ASK_FOR = 1.0
ANSWER_WITHIN = 1.0
PAUSE = 0.25
"""Seconds until whatever went wrong is tried again."""

DONE, PUT_BACK, IN_PROGRESS, GIVEN_UP = b"+ACK", b"-NAK", b"+WPI", b"+TERM"
NOTHING_THERE = ("404", "408")
ANOTHER_CONFIGURATION = 10058
NOT_STORED = 10077
SAME_SUBJECT = "maximum messages per subject exceeded"


class NatsTaskQueue:
    """Work waits in a stream of its own for all processes of one ledger.

    :meth:`pull` takes and :meth:`keep_alive` tells that what was taken is not lost: each runs all the time.

    Args:
        root: what the names of this ledger begin with; no other ledger has the same.
        lease: for how many seconds work is left to a taker that keeps silent.
        replicas: how many servers hold each work.
        bound: how much work may wait.
    """

    def __init__(self, connection: NatsConnection, root: str, *, lease: float, replicas: int, bound: int) -> None:
        self._connection = connection
        self._lease, self._replicas = lease, replicas
        self._outdone: set[str] = set()
        self._subjects = f"{root}.work"
        self._stream = root.replace(".", "-")
        self._stream_wanted = StreamConfig(
            name=self._stream,
            subjects=[f"{self._subjects}.*.*.*"],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            num_replicas=replicas,
            discard=DiscardPolicy.NEW,
            discard_new_per_subject=True,
            max_msgs_per_subject=1,
            max_msgs=bound,
            max_age=WAIT_FOR_DAYS * 86_400,
        )
        self._consumer_wanted = ConsumerConfig(
            durable_name=CONSUMER,
            ack_policy=AckPolicy.EXPLICIT,
            backoff=[leases * lease for leases in REDELIVERIES],
            # Those that die with each of its takers are given up by the last one, so that they leave the stream.
            max_deliver=-1,
            max_ack_pending=-1,
            max_waiting=MAX_ASKING,
        )
        self._made_on: Client | None = None
        self._making = asyncio.Lock()
        self._inbox = ""
        self._asked = self._missing = 0
        self._answer: asyncio.Future[str | None] | None = None
        self._takers = Takers()
        self._is_hungry = asyncio.Event()
        self._taken: dict[str, _Taken] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._unusable_until = 0.0
        self._is_told = False
        connection.prepare(self._prepare)

    @property
    def is_away(self) -> bool:
        """Whether NATS is, or gave no answer that is one to who asked last for work."""
        return self._connection.client is None or self._is_told

    # Publishing

    async def publish(self, item: QueueItem) -> bool:
        """Offer work; False if the same task, attempt and dispatch is waiting already, or was taken by somebody alive.

        Raises:
            QueueFullError: the bound is reached.
            QueueUnavailableError: NATS is away, or has no stream to take it.
        """
        client, loop = self._connection.client, asyncio.get_running_loop()
        if client is None or loop.time() < self._unusable_until:
            raise QueueUnavailableError("NATS is away")
        subject = f"{self._subjects}.{item.task_id.hex}.{item.attempt}.{item.dispatch}"
        try:
            async with asyncio.timeout(2 * ANSWER_WITHIN):
                return await self._publish(client, subject, msgspec.json.encode(item))
        except TROUBLE as error:
            self._made_on = None
            self._unusable_until = loop.time() + PAUSE
            raise QueueUnavailableError(f"NATS: {error or type(error).__name__}") from error

    async def _publish(self, client: Client, subject: str, work: bytes) -> bool:
        await self._make(client)
        is_tried_again = False
        while True:
            try:
                await client.jetstream(timeout=ANSWER_WITHIN).publish(subject, work)
            except NoStreamResponseError:
                if is_tried_again:
                    raise
                self._made_on = None
                await self._make(client)
            except APIError as error:
                if error.err_code != NOT_STORED:
                    raise
                if is_tried_again or not self._settling:
                    if error.description == SAME_SUBJECT:
                        return False
                    raise QueueFullError from None
                # What this process is done with may not have left the stream yet.
                await asyncio.wait(self._settling, timeout=ANSWER_WITHIN)
            else:
                return True
            is_tried_again = True

    async def _make(self, client: Client) -> None:
        """The stream and its consumer, unless they were there when this connection last looked."""
        async with self._making:
            if self._made_on is client:
                return
            streams = client.jetstream(timeout=ANSWER_WITHIN)
            await self._make_stream(streams)
            await self._make_consumer(streams)
            self._made_on = client

    async def _make_stream(self, streams: JetStreamContext) -> None:
        try:
            await streams.add_stream(self._stream_wanted)
        except BadRequestError as error:
            if error.err_code != ANOTHER_CONFIGURATION:
                raise
            replicas = (await streams.stream_info(self._stream)).config.num_replicas or 1
            if self._is_outdone("nats_replicas", self._replicas, by=replicas):
                return
            await streams.update_stream(self._stream_wanted)

    async def _make_consumer(self, streams: JetStreamContext) -> None:
        with suppress(NotFoundError):
            leases = (await streams.consumer_info(self._stream, CONSUMER)).config.backoff or [0.0]
            if self._is_outdone("lease", self._lease, by=leases[0] / REDELIVERIES[0]):
                return
        await streams.add_consumer(self._stream, self._consumer_wanted)

    def _is_outdone(self, setting: str, own: float, *, by: float) -> bool:
        """Whether other nodes want more than this one does: else each would undo what another has just done."""
        if by > own and setting not in self._outdone:
            self._outdone.add(setting)
            log.warning("%s is %g here and %g at other nodes, which counts: make them equal", setting, own, by)
        return by > own

    # Taking

    async def take(self, most: int) -> Sequence[Delivery]:
        """Wait for work, and take ``most`` of it or what there is; nothing after :meth:`stop_taking`."""
        self._is_hungry.set()
        return await self._takers.wait(most)

    async def stop_taking(self) -> None:
        """End every :meth:`take` of this process. What was not taken stays queued."""
        self._takers.stop()

    async def pull(self) -> None:
        """Ask again and again for as much as is waited for here, for as long as it is, or until an answer comes."""
        while True:
            await self._is_hungry.wait()
            if not (self._takers.wanted or self._is_told):
                self._is_hungry.clear()
                continue
            client = await self._connection.up()
            try:
                reason = await self._ask(client)
            except TROUBLE as error:
                reason = f"{type(error).__name__}: {error}"
            if reason is not None:
                self._made_on = None
                await asyncio.sleep(PAUSE)
            self._tell(reason)

    async def _ask(self, client: Client) -> str | None:
        """Ask for as much as is waited for, and wait until it is there or there was less. Returns any other answer."""
        await self._make(client)
        self._asked += 1
        self._missing = max(1, self._takers.wanted)
        self._answer = asyncio.get_running_loop().create_future()
        request = msgspec.json.encode({"batch": self._missing, "expires": int(ASK_FOR * 1e9)})
        await client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{CONSUMER}", request, reply=f"{self._inbox}.{self._asked}"
        )
        async with asyncio.timeout(ASK_FOR + ANSWER_WITHIN):
            return await self._answer

    async def _prepare(self, client: Client) -> None:
        """Who asked over the connection that is lost is not answered any more."""
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.*", cb=self._hear)
        self._unusable_until = 0.0
        self._answered(None)

    async def _hear(self, message: Msg) -> None:
        """Work, or why there is none: that may come too late for who asked."""
        headers = message.headers or {}
        status = headers.get("Status")
        if status is None:
            self._missing -= 1
            self._take(message)
            if self._missing <= 0:
                self._answered(None)
        elif message.subject == f"{self._inbox}.{self._asked}":
            self._answered(None if status in NOTHING_THERE else f"{status} {headers.get('Description', '')}")

    def _answered(self, reason: str | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(reason)

    def _take(self, message: Msg) -> None:
        try:
            item = msgspec.json.decode(message.data, type=QueueItem)
        except msgspec.DecodeError:
            log.warning("work that cannot be read is thrown away: the sweeper publishes it anew")
            self._settle(message.reply, GIVEN_UP)
            return
        if message.metadata.num_delivered > MAX_DELIVERIES:
            log.warning("task %s: delivered %d times: left to the sweeper", item.task_id, MAX_DELIVERIES)
            self._settle(message.reply, GIVEN_UP)
            return
        taken = _Taken(item, message.reply, self._end)
        self._taken[message.reply] = taken
        if not self._takers.hand(taken):
            # At once it would come back as more of what was asked for, again and again.
            taken.put_back(ASK_FOR if self._missing > 0 else 0)

    def _tell(self, reason: str | None) -> None:
        if reason is not None and not self._is_told:
            log.warning("no work comes over NATS: %s", reason)
        elif reason is None and self._is_told:
            log.warning("work comes over NATS again")
        self._is_told = reason is not None

    # What was taken

    async def keep_alive(self) -> None:
        """Tell again and again that this process has what it has taken."""
        while True:
            await asyncio.sleep(self._lease / BEATS)
            for reply in list(self._taken):
                if (client := self._connection.client) is not None:
                    with suppress(*TROUBLE):
                        await client.publish(reply, IN_PROGRESS)

    def _end(self, reply: str, how: bytes) -> None:
        if self._taken.pop(reply, None) is not None:
            self._settle(reply, how)

    def _settle(self, reply: str, how: bytes) -> None:
        settling = asyncio.get_running_loop().create_task(self._send(reply, how))
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)

    async def _send(self, reply: str, how: bytes) -> None:
        """What does not arrive is delivered again, and is found to be done then."""
        if (client := self._connection.client) is not None:
            with suppress(*TROUBLE):
                async with asyncio.timeout(ANSWER_WITHIN):
                    await client.request(reply, how, timeout=ANSWER_WITHIN)

    async def close(self) -> None:
        """Take no more, and put back what was taken and is not done."""
        await self.stop_taking()
        for taken in list(self._taken.values()):
            taken.put_back(0)
        if self._settling:
            await asyncio.wait(self._settling, timeout=ANSWER_WITHIN)


class _Taken(msgspec.Struct, frozen=True):
    item: QueueItem
    reply: str
    end: Callable[[str, bytes], None]

    def done(self) -> None:
        """Let it leave the stream."""
        self.end(self.reply, DONE)

    def put_back(self, delay: float) -> None:
        """Let it be delivered again then."""
        self.end(self.reply, PUT_BACK + b' {"delay": %d}' % int(delay * 1e9) if delay > 0 else PUT_BACK)
