"""The worker, and what follows the commits of its process beside it."""

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack

from chatledger.application.application import Application
from chatledger.application.background import Background
from chatledger.application.files.storing import StoringFiles
from chatledger.application.generation.automatic_naming import AutomaticNaming
from chatledger.application.generation.deleted_conversations import DeletedConversations
from chatledger.application.generation.dispatch import Dispatcher, Sweeper
from chatledger.application.generation.failures import RetryPolicy
from chatledger.application.generation.interruptions import Interruptions
from chatledger.application.generation.moderating import Gates
from chatledger.application.generation.prompts import Prompts
from chatledger.application.generation.turns import Turns
from chatledger.application.generation.worker import Awaited, Worker, WorkerSettings
from chatledger.application.grace import Grace
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.generator import Generator
from chatledger.bootstrap.queues import Queues
from chatledger.settings import Settings


async def start_worker(
    stack: AsyncExitStack,
    settings: Settings,
    application: Application,
    ledger: Ledger,
    queues: Queues,
    generators: Mapping[str, Generator],
    gates: Gates,
    writer: GroupCommitWriter,
    *,
    storing: StoringFiles,
    awaited: Awaited,
    grace: Grace,
) -> Worker:
    """Begin what follows the commits of this process. It is drained first, and then cancelled."""
    queue, bus, views, clock = queues.tasks, queues.bus, application.views, application.clock
    worker = Worker(
        _worker_settings(settings),
        ledger,
        views,
        queue,
        bus,
        generators,
        gates,
        clock,
        store_made_file=storing.store_made_file,
        prompts=Prompts(views, ledger.read, application.files.sent),
        awaited=awaited,
    )
    followers = (
        worker,
        Dispatcher(queue),
        Turns(views, queue),
        Sweeper(
            ledger,
            views,
            queue,
            application.stopping,
            clock,
            interval=settings.heartbeat,
            timeout=settings.generation_timeout,
        ),
        AutomaticNaming(ledger, views, application.naming),
        DeletedConversations(views, application.stopping),
        Interruptions(views, application.stopping),
    )
    for follower in followers:
        writer.observe(follower.committed)
    bus.observe_stops(worker.hear_stop)
    background = await stack.enter_async_context(Background())
    background.start(*(follower.run for follower in followers), worker.keep_leases, worker.hear_stops)
    stack.push_async_callback(worker.drain, grace)
    return worker


def _worker_settings(settings: Settings) -> WorkerSettings:
    return WorkerSettings(
        name=f"{settings.worker_name}:{secrets.token_hex(4)}",
        concurrency=settings.worker_concurrency,
        lease=settings.lease,
        heartbeat=settings.heartbeat,
        timeout=settings.generation_timeout,
        flush_interval=settings.flush_interval_ms / 1000,
        longest_answer=settings.max_answer_characters,
        retry=RetryPolicy(
            attempts=settings.attempts,
            take_overs=settings.take_overs,
            first_delay=settings.first_retry_delay,
            longest_delay=settings.longest_retry_delay,
        ),
    )
