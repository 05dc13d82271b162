"""The worker, and what reacts to the commits of its process beside it."""

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack

from chatledger.application.application import Application
from chatledger.application.background import Background
from chatledger.application.files.storing import StoringFiles
from chatledger.application.generation.audience import Audience
from chatledger.application.generation.automatic_naming import AutomaticNaming
from chatledger.application.generation.deleted_conversations import DeletedConversations
from chatledger.application.generation.dispatch import Dispatcher, Sweeper
from chatledger.application.generation.failures import RetryPolicy
from chatledger.application.generation.interruptions import Interruptions
from chatledger.application.generation.moderating import Gates
from chatledger.application.generation.offering import Offering
from chatledger.application.generation.prompts import Prompts
from chatledger.application.generation.turns import Turns
from chatledger.application.generation.worker import Worker, WorkerSettings
from chatledger.application.grace import Grace
from chatledger.application.leadership import Post
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.generator import Generator
from chatledger.application.ports.queue import TaskQueue
from chatledger.bootstrap.queues import Queues
from chatledger.settings import Settings


async def start_reactions(
    stack: AsyncExitStack,
    settings: Settings,
    application: Application,
    ledger: Ledger,
    queue: TaskQueue,
    writer: GroupCommitWriter,
    post: Post,
) -> None:
    """Begin what follows the commits of this process, whether it has a worker or not.

    What this leaves undone, because it ends in between, is found by whichever node fills the post.
    """
    views, stopping, clock = application.views, application.stopping, application.clock
    is_alone = not settings.is_shared
    offering = Offering(queue)
    dispatcher, turns = Dispatcher(offering), Turns(views, offering, is_alone=is_alone)
    sweeper = Sweeper(
        ledger, views, offering, stopping, clock, interval=settings.heartbeat, timeout=settings.generation_timeout
    )
    naming = AutomaticNaming(ledger, views, application.naming, clock, is_alone=is_alone)
    deleted, interruptions = DeletedConversations(views, stopping), Interruptions(views, stopping)
    for reaction in (dispatcher, turns, sweeper, naming, deleted, interruptions):
        writer.observe(reaction.committed)
    background = await stack.enter_async_context(Background())
    background.start(dispatcher.run, turns.run, sweeper.follow, naming.follow, deleted.follow, interruptions.follow)
    await stack.enter_async_context(
        post.filled(sweeper.run, naming.look_back, deleted.look_back, interruptions.look_back)
    )


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
    audience: Audience,
    grace: Grace,
) -> Worker:
    """Begin to answer messages. At the end the worker is drained first, and then cancelled."""
    views, bus = application.views, queues.bus
    worker = Worker(
        _worker_settings(settings),
        ledger,
        views,
        queues.tasks,
        bus,
        generators,
        gates,
        application.clock,
        store_made_file=storing.store_made_file,
        prompts=Prompts(views, ledger.read, application.files.sent),
        audience=audience,
    )
    writer.observe(worker.committed)
    bus.observe_stops(worker.hear_stop)
    background = await stack.enter_async_context(Background())
    background.start(worker.run, worker.keep_leases, worker.hear_stops)
    stack.push_async_callback(worker.drain, grace)
    return worker


def _worker_settings(settings: Settings) -> WorkerSettings:
    return WorkerSettings(
        name=f"{settings.worker_name}:{secrets.token_hex(4)}",
        is_alone=not settings.is_shared,
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
