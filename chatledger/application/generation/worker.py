"""The worker: takes tasks off the queue and brings each message to its end, or leaves it to another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from functools import partial
from uuid import UUID

import msgspec

from chatledger.application.context import Actor, Context
from chatledger.application.errors import NotFoundError
from chatledger.application.fault_report import describe
from chatledger.application.generation.attempt import Attempt
from chatledger.application.generation.audience import LOOK_AGAIN, Audience
from chatledger.application.generation.closing import Closings
from chatledger.application.generation.failures import CONSEQUENCES, INTERNAL_MESSAGE, RetryPolicy
from chatledger.application.generation.moderating import Gates
from chatledger.application.generation.prompts import Prompts
from chatledger.application.generation.reading import Reading
from chatledger.application.generation.steps import Steps
from chatledger.application.generation.taking import take_or_look
from chatledger.application.generation.tally import Tally
from chatledger.application.grace import Grace
from chatledger.application.ledger.envelope import Envelope, to_microseconds
from chatledger.application.ledger.hand_ins import VersionConflictError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.generator import Generator, GeneratorError
from chatledger.application.ports.keys import DataKey
from chatledger.application.ports.queue import Delivery, LiveBus, QueueItem, TaskQueue
from chatledger.application.ports.storage import Delete, StorageUnavailableError, Update, Upsert
from chatledger.application.ports.views import Views
from chatledger.domain.errors import FencedOutError, StopPendingError
from chatledger.domain.events import MessageCreated, StopRequested
from chatledger.domain.message import Message
from chatledger.domain.values import AttachedFile, RequeueCause, StoppedBy, Usage

log = logging.getLogger(__name__)

SECONDS_TO_GIVE_UP = 1.0
"""What a generator has that was cancelled."""

PUT_BACK = 1.0
"""Seconds until work that could not be begun is tried again, here or elsewhere."""

StoreMadeFile = Callable[[Message, str, bytes, Context], Awaitable[AttachedFile]]
"""Stores what a tool made for a message, by name and content."""


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds.

    Attributes:
        is_alone: whether no other process could take what this one leaves.
        timeout: how long a generation may take, from the start of its first attempt on, over all attempts.
        longest_answer: the characters that an answer may have.
    """

    name: str
    is_alone: bool = True
    concurrency: int = 2_000
    lease: float = 5.0
    heartbeat: float = 1.0
    timeout: float = 1_200.0
    flush_interval: float = 0.05
    longest_answer: int = 1_000_000
    retry: RetryPolicy = RetryPolicy()


class Worker:
    """Any number of generations at once, each an attempt under a lease."""

    def __init__(
        self,
        settings: WorkerSettings,
        ledger: Ledger,
        views: Views,
        queue: TaskQueue,
        bus: LiveBus,
        generators: Mapping[str, Generator],
        gates: Gates,
        clock: Clock,
        *,
        store_made_file: StoreMadeFile,
        prompts: Prompts,
        audience: Audience,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._views = views
        self._queue = queue
        self._bus = bus
        self._generators = generators
        self._gates = gates
        self._store_made_file = store_made_file
        self._prompts = prompts
        self._audience = audience
        self._clock = clock
        self._running: dict[UUID, Attempt] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._taken: dict[UUID, int] = {}
        self._has_ended = asyncio.Event()
        self._orphans: set[UUID] = set()
        self._asked_to_stop: set[UUID] = set()
        self._has_been_asked = asyncio.Event()
        self._closings = Closings()
        self._is_draining = False
        self._is_leaving = False

    # Taking work

    async def run(self) -> None:
        """Take tasks until the queue gives no more."""
        taking = take_or_look(self._queue, self._views, self._clock, self._room, interval=self._settings.heartbeat)
        async with aclosing(taking):
            async for deliveries in taking:
                takes_more = await self._takes_more()
                for delivery in deliveries:
                    self._take(delivery, takes_more=takes_more)

    async def _room(self) -> int:
        """For how many more there is room, once there is for one."""
        while (room := self._settings.concurrency - len(self._tasks)) <= 0:
            self._has_ended.clear()
            await self._has_ended.wait()
        return room

    def _take(self, delivery: Delivery, *, takes_more: bool) -> None:
        """Work on it from now on; else it is over, or it is for later or others."""
        message_id, attempt = delivery.item.message_id, delivery.item.attempt
        is_under_way = message_id in self._tasks
        if is_under_way and attempt <= self._taken[message_id]:
            delivery.done()
        elif is_under_way or not takes_more:
            delivery.put_back(LOOK_AGAIN)
        else:
            self._taken[message_id] = attempt
            self._tasks[message_id] = task = asyncio.create_task(self._guarded(delivery))
            task.add_done_callback(lambda _: self._leave(message_id))

    async def _takes_more(self) -> bool:
        return not self._is_leaving and (
            not self._is_draining or (self._settings.is_alone and await self._audience.waits())
        )

    def _leave(self, message_id: UUID) -> None:
        del self._tasks[message_id], self._taken[message_id]
        self._has_ended.set()

    async def drain(self, grace: Grace) -> None:
        """Let running generations end within the grace, then hand them over.

        As long as somebody in this process waits for an answer, what is queued or put back is still taken when its time
        comes; where there may be other workers, it is left to them from now on. Letting no new messages in is up to the
        caller.

        What cannot even be handed over in time is left to recovery. Whoever calls this again waits for nothing.
        """
        if self._is_leaving:
            return
        self._is_draining = True
        if not self._settings.is_alone:
            await self._queue.stop_taking()
        await grace.wait_for(self._until_answered())
        self._is_leaving = True
        await self._queue.stop_taking()
        for attempt in list(self._running.values()):
            attempt.leave()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._until_idle(), self._settings.lease)
        late = list(self._tasks.values())
        for task in late:
            task.cancel()
        if late:
            log.warning("%d generations are left to recovery", len(late))
            await asyncio.wait(late, timeout=SECONDS_TO_GIVE_UP)
        await self._closings.drain(SECONDS_TO_GIVE_UP)

    async def _until_answered(self) -> None:
        await self._until_idle()
        while await self._audience.waits():
            await asyncio.sleep(LOOK_AGAIN)
            await self._until_idle()

    async def _until_idle(self) -> None:
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    # Signals

    def hear_stop(self, message_id: UUID) -> None:
        """Another process has asked for the end of a message, which is on the ledger."""
        if message_id in self._running:
            self._asked_to_stop.add(message_id)
            self._has_been_asked.set()

    async def hear_stops(self) -> None:
        """Look who asked for the ends that other processes tell of. What cannot be read now, a heartbeat hears."""
        while True:
            await self._has_been_asked.wait()
            self._has_been_asked.clear()
            while self._asked_to_stop:
                attempt = self._running.get(self._asked_to_stop.pop())
                if attempt is not None and attempt.stopped_by is None:
                    with suppress(StorageUnavailableError):
                        await self._hear_stop(attempt)

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Hear of a stop as soon as it is on the ledger."""
        for envelope in envelopes:
            if isinstance(envelope.body, StopRequested):
                attempt = self._running.get(envelope.stream_id)
                if attempt is not None:
                    attempt.hear_of(envelope.body, envelope.version)

    async def keep_leases(self) -> None:
        """Renew the leases of all running generations, and hear what signals were lost: one beat after another."""
        while True:
            await asyncio.sleep(self._settings.heartbeat)
            try:
                await self._beat()
            except (StorageUnavailableError, VersionConflictError) as error:
                if self._ledger.trouble is None:  # it is in the log already
                    log.warning("heartbeat missed: the store is in trouble: %s", error)

    async def _beat(self) -> None:
        """Renew; then compare what is held with what is running.

        A lease without a running generation is one that the store's trouble left behind: it is given back, so that
        recovery finds the message.
        """
        renewed = Update("leases", {"worker": self._settings.name}, {"expires_at": self._lease_end()})
        running = dict(self._running)
        # Not those that were taken up again since: their leases are new ones.
        given_back = [
            Delete("leases", {"message_id": message_id, "worker": self._settings.name})
            for message_id in self._orphans - self._tasks.keys()
        ]
        await self._ledger.keep(renewed, *given_back)
        held = {task.message_id: task for task in await self._views.held_by(self._settings.name)}
        for message_id, attempt in running.items():
            task = held.pop(message_id, None)
            if self._running.get(message_id) is not attempt:
                continue
            if task is None or task.attempt != attempt.number:
                attempt.fail(FencedOutError())
            elif task.state == "stopping" and attempt.stopped_by is None:
                await self._hear_stop(attempt)
        self._orphans = held.keys() - self._tasks.keys()

    async def _hear_stop(self, attempt: Attempt) -> None:
        """Learn from the ledger who asked for the end."""
        staged = await self._ledger.load(Message, attempt.message.id)
        if staged is not None and (by := staged.aggregate.stop_requested_by) is not None:
            attempt.hear_stop(by, staged)

    def _lease_end(self) -> int:
        return to_microseconds(self._clock.now()) + int(self._settings.lease * 1_000_000)

    # One generation

    async def _guarded(self, delivery: Delivery) -> None:
        task_id = delivery.item.task_id
        try:
            claimed = await self._claim(delivery.item)
        except Exception as error:  # noqa: BLE001 - one message's failure is not the worker's
            log.warning("task %s: put back: %s", task_id, describe(error))
            delivery.put_back(PUT_BACK)
            return
        if claimed is None and self._is_leaving:
            delivery.put_back(0)
        else:
            delivery.done()
        if claimed is None:
            return
        try:
            await self._generate(*claimed)
        except FencedOutError:
            log.info("task %s: fenced out", task_id)
        except StorageUnavailableError:
            log.warning("task %s: the store is in trouble; left to recovery", task_id)
        except Exception as error:  # noqa: BLE001 - one message's failure is not the worker's
            log.warning("task %s: left to recovery: %s", task_id, describe(error))

    async def _claim(self, item: QueueItem) -> "tuple[Staged[Message], _Opened] | None":
        """Begin the attempt that an item asks for; None where there is nothing to begin."""
        staged = await self._ledger.take_message(item.message_id, item.attempt)
        while staged is not None and not staged.aggregate.has_ended and staged.aggregate.attempt == item.attempt:
            if self._is_leaving or staged.aggregate.is_put_back_at(self._clock.now()):
                return None
            try:
                opened = await self._open(staged)
            except VersionConflictError:
                staged = await self._ledger.load(Message, item.message_id)
                continue
            return None if opened is None else (staged, opened)
        return None

    async def _open(self, staged: Staged[Message]) -> "_Opened | None":
        """Start the next attempt, or end a message that must not have another; one whose turn has not come is left.

        Raises:
            VersionConflictError: somebody else came first; nothing was started.
        """
        message = staged.aggregate
        created = message.created
        generator = self._generators.get(created.generator)
        context = self._context(created)
        key = await self._key(staged)
        seconds = await self._seconds_left(message)
        stopped_by: StoppedBy | None = message.stop_requested_by or ("timeout" if seconds <= 0 else None)
        if stopped_by is not None:
            await self._end(staged, context, key, stopped_by)
        elif generator is None:
            await self._end(staged, context, key, reason=f"no generator named {created.generator}")
        elif message.attempt_is_open and not (generator.repeatable and self._settings.retry.may_take_over(message)):
            await self._end(staged, context, key)
        else:
            context_cut = await self._views.turn(message.id) if message.waits else None
            if message.waits and context_cut is None:
                return None
            message.start_attempt(self._settings.name, context_cut=context_cut)
            envelopes = await self._ledger.hand_in(staged, context=context, changes=[self._lease(message)])
            return _Opened(envelopes[0].context_position, generator, key, seconds)
        return None

    async def _end(
        self,
        staged: Staged[Message],
        context: Context,
        key: DataKey,
        stopped_by: StoppedBy | None = None,
        reason: str = INTERNAL_MESSAGE,
    ) -> None:
        """End a message that gets no further attempt: as stopped, or else as failed for this reason.

        What a dead worker's attempt has left is judged before.
        """
        attempt = self._attempt(staged, context)
        gate = None
        if attempt.message.attempt_is_open:
            with suppress(NotFoundError):  # the app is gone, and its messages with it
                gate = await self._gates.gate(attempt)
                await gate.judge_broken_off()
        if gate is not None and gate.is_shut:
            await gate.end(Usage(), key)
        elif stopped_by is not None:
            await attempt.end_stopped(stopped_by, Usage(), key)
        else:
            await attempt.end_failed("internal_server_error", reason)

    def _attempt(self, staged: Staged[Message], context: Context | int) -> Attempt:
        settings = self._settings
        return Attempt(
            staged, context, self._ledger, self._bus, settings.flush_interval, self._clock, settings.longest_answer
        )

    async def _seconds_left(self, message: Message) -> float:
        """Of the time that the generation may take."""
        began = await self._views.generation_began(message.id) if message.attempt else None
        if began is None:
            return self._settings.timeout
        return self._settings.timeout - (to_microseconds(self._clock.now()) - began) / 1_000_000

    def _context(self, created: MessageCreated) -> Context:
        actor = Actor("worker", self._settings.name)
        return Context(actor=actor, correlation_id=created.task_id, app_id=created.app_id)

    def _lease(self, message: Message) -> Upsert:
        values = {"worker": self._settings.name, "attempt": message.attempt, "expires_at": self._lease_end()}
        key = {"message_id": message.id}
        return Upsert("leases", key, key | values, values)

    async def _key(self, staged: Staged[Message]) -> DataKey:
        if staged.key_id is None:
            raise ValueError("a message without a data key")
        keyring = self._ledger.keyring
        return keyring.cached(staged.key_id) or await asyncio.to_thread(keyring.key, staged.key_id)

    async def _generate(self, staged: Staged[Message], opened: "_Opened") -> None:
        generator, key = opened.generator, opened.key
        attempt = self._attempt(staged, opened.context_position)
        tally = Tally(attempt, self._clock)
        message_id = attempt.message.id
        self._running[message_id] = attempt
        if self._is_leaving:
            attempt.leave()
        try:
            gate = await self._gates.gate(attempt)
            steps = Steps(
                attempt, lambda name, content: self._keep_file(attempt.message, name, content), gate.let_stand
            )
            tally.prices = gate.prices
            reading = Reading(
                attempt, generator, partial(self._prompts.request, attempt.message), tally, gate, steps, self._closings
            )
            failure = await reading.run(opened.seconds)
            attempt.raise_failure()
            if failure is not None or attempt.stopped_by is not None or attempt.is_left:
                await gate.judge_broken_off()
            if gate.is_shut:
                await gate.end(tally.usage(), key)
            elif attempt.stopped_by is not None:
                await attempt.end_stopped(attempt.stopped_by, tally.usage(), key)
            elif failure is not None:
                is_final = attempt.pieces > 0 or (steps.have_acted and not generator.repeatable)
                await self._give_up(attempt, failure, tally, key, is_final=is_final)
            elif attempt.is_left and (attempt.pieces > 0 or steps.have_acted) and not generator.repeatable:
                await attempt.end_failed("internal_server_error", INTERNAL_MESSAGE)
            elif attempt.is_left:
                await self._hand_over(attempt, tally, key)
            else:
                await attempt.complete(tally.usage(), tally.finish_reason, key)
        finally:
            del self._running[message_id]

    async def _keep_file(self, message: Message, name: str, content: bytes) -> AttachedFile:
        return await self._store_made_file(message, name, content, self._context(message.created))

    async def _give_up(
        self, attempt: Attempt, error: GeneratorError, tally: Tally, key: DataKey, *, is_final: bool
    ) -> None:
        code, reason = CONSEQUENCES[error.kind].code, str(error)
        now = self._clock.now()
        failures = attempt.message.failures + 1
        again = self._settings.retry.next_attempt(failures, error, now, is_final=is_final)
        if again is not None:
            await self._requeue(attempt, code, reason, again, tally, key)
        else:
            await attempt.end_failed(code, reason)

    async def _hand_over(self, attempt: Attempt, tally: Tally, key: DataKey) -> None:
        await self._requeue(attempt, "handed_over", "the worker was told to go", self._clock.now(), tally, key)

    async def _requeue(
        self, attempt: Attempt, cause: RequeueCause, reason: str, not_before: datetime, tally: Tally, key: DataKey
    ) -> None:
        """Leave the message to a later attempt, unless somebody asked for its end meanwhile."""
        try:
            await attempt.requeue(cause, reason, not_before)
        except StopPendingError as pending:
            await attempt.end_stopped(pending.by, tally.usage(), key)


class _Opened(msgspec.Struct, frozen=True):
    """An attempt that was started: the position of its metadata, what generates and seals, and the time it has."""

    context_position: int
    generator: Generator
    key: DataKey
    seconds: float
