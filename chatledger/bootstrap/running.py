"""An open chatledger: everything made, joined and started, and closed at the end."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial

import msgspec

from chatledger.adapters.persistence.database import Database
from chatledger.adapters.persistence.deliveries import SqlDeliveries
from chatledger.adapters.persistence.exported import SqlExportedLedger
from chatledger.adapters.persistence.scratch import SqlScratches
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore
from chatledger.adapters.persistence.tracking import Projection, SqlTrackedProjection, SqlTracking
from chatledger.adapters.persistence.views.annotations import SqlAnnotationViews
from chatledger.adapters.persistence.views.belongings import SqlBelongingsViews
from chatledger.adapters.persistence.views.dead_letters import SqlDeadLetterViews
from chatledger.adapters.persistence.views.endpoints import SqlEndpointViews
from chatledger.adapters.persistence.views.past import SqlPastPlaces
from chatledger.adapters.rate_limiter.in_process import InProcessRateLimiter
from chatledger.application.app_limits import AppLimits
from chatledger.application.application import Application
from chatledger.application.audit.access_request import AccessRequests
from chatledger.application.audit.exporting import Exporting
from chatledger.application.audit.notary import NotaryProcess
from chatledger.application.audit.reads import ContentReads
from chatledger.application.audit.receipts import Receipts
from chatledger.application.background import Background
from chatledger.application.caller import EndUsers, Ownership
from chatledger.application.commands.annotating import Annotating
from chatledger.application.commands.asking import Asking
from chatledger.application.commands.deleting import DeletingConversations
from chatledger.application.commands.disconnecting import Disconnecting
from chatledger.application.commands.managing_apps import ManagingApps
from chatledger.application.commands.managing_operators import ManagingOperators
from chatledger.application.commands.naming import Naming
from chatledger.application.commands.pinning import PinningConversations
from chatledger.application.commands.rating import RatingMessages
from chatledger.application.commands.renaming import RenamingConversations
from chatledger.application.commands.repeating import Repeating
from chatledger.application.commands.replaying import Replaying
from chatledger.application.commands.rotating_keys import RotatingKeys
from chatledger.application.commands.saving import SavingMessages
from chatledger.application.commands.sending import Sending
from chatledger.application.commands.setting_variables import SettingVariables
from chatledger.application.commands.speaking import Speaking
from chatledger.application.commands.stopping import Stopping
from chatledger.application.commands.suggesting import Suggesting
from chatledger.application.commands.uploading import Uploading
from chatledger.application.commands.visiting import Visiting
from chatledger.application.erasure.disclosing import Disclosing
from chatledger.application.files.attaching import Attaching
from chatledger.application.generation.annotations import Annotations
from chatledger.application.generation.audience import Audience
from chatledger.application.generation.moderating import Gates
from chatledger.application.generation.worker import Worker
from chatledger.application.grace import Grace
from chatledger.application.idempotency import IdempotencyKeys
from chatledger.application.leadership import Post
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.ledger import HOT_MESSAGES, Ledger
from chatledger.application.ledger.log import LedgerLog
from chatledger.application.ledger.origins import Origins
from chatledger.application.ledger.projections import Projections
from chatledger.application.ledger.subscription import (
    Handler,
    HandlerSubscription,
    ProjectionSubscription,
    SubscriptionSettings,
)
from chatledger.application.ledger.subscriptions import Subscriptions
from chatledger.application.ledger.tail import ConversationTail, Tail
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.people import People
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.generator import Generator
from chatledger.application.queries.credentials import Credentials
from chatledger.application.queries.dead_letters import DeadLetters
from chatledger.application.queries.directory import AppDirectory
from chatledger.application.queries.facts import Facts
from chatledger.application.queries.feed import Feed
from chatledger.application.queries.feedbacks import Feedbacks
from chatledger.application.queries.following import Following
from chatledger.application.queries.history import History
from chatledger.application.queries.listening import Lookout
from chatledger.application.queries.past import Past
from chatledger.application.queries.searching import Searching
from chatledger.application.system_clock import new_id
from chatledger.application.webhooks.webhooks import Webhooks
from chatledger.bootstrap.blobs import blob_store
from chatledger.bootstrap.core import open_core
from chatledger.bootstrap.data_folder import make_folders
from chatledger.bootstrap.erasure import open_forgetting
from chatledger.bootstrap.files import open_files
from chatledger.bootstrap.leadership import open_leadership
from chatledger.bootstrap.neighbours import hear_neighbours
from chatledger.bootstrap.notary import OpenNotary, open_notary
from chatledger.bootstrap.providers import built_in, by_name_of, open_features
from chatledger.bootstrap.queues import open_queues
from chatledger.bootstrap.search import open_index
from chatledger.bootstrap.stores import open_rebuilding
from chatledger.bootstrap.webhooks import open_webhooks
from chatledger.bootstrap.worker import start_reactions, start_worker
from chatledger.settings import Settings, require_no_server


class Running(msgspec.Struct, frozen=True):
    """An open chatledger: its use cases, and what its server and its command line need beside them."""

    application: Application
    worker: Worker | None
    audience: Audience
    ledger: Ledger
    writer: GroupCommitWriter
    store: SqlLedgerStore
    codec: EventCodec
    projections: Projections
    reader: Reader
    subscriptions: Subscriptions
    grace: Grace


@asynccontextmanager
async def open_chatledger(
    settings: Settings,
    *,
    with_server: bool = True,
    with_worker: bool = True,
    with_processes: bool = True,
    generators: Sequence[Generator] = (),
    projections: Sequence[Projection] = (),
    handlers: Sequence[Handler] = (),
) -> AsyncIterator[Running]:
    """Open the store, start what runs beside it, and close everything at the end, the given generators too.

    Args:
        settings: of this server.
        with_server: whether settings of a server mean anything here; else they are refused.
        with_worker: whether it answers messages itself.
        with_processes: whether it does beside that what a server does by itself: it signs checkpoints now and then and
            at the end, and hands its messages to workers.
        generators: what may answer beside the built-in ones.
        projections: read models of the host's own, which follow the ledger.
        handlers: code of the host's own that reacts to events.

    Raises:
        InvalidParameterError: a generator has the name of another one.
        SubscriptionProblemError: one of the projections or handlers cannot be run.
        SettingsProblemError: a setting is one of a server, which there is not, or a folder that the settings name
            cannot be made, or not be written to.
        StorageUnavailableError: the store is in trouble, or its database cannot be reached.
        StoreBusyError: another server has the store open.
        SchemaError: the store was written by a newer release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    async with AsyncExitStack() as stack:
        by_name = _open_generators(settings, generators, stack)
        features = open_features(settings, stack)
        make_folders(settings if with_server else require_no_server(settings))
        grace = Grace(settings.shutdown_grace)
        core = await open_core(stack, settings, hot_messages=HOT_MESSAGES if with_worker else 0)
        clock, database, reader, store, writer = core.clock, core.database, core.reader, core.store, core.writer
        leadership = await stack.enter_async_context(open_leadership(settings, database, clock))
        ledger, codec, keyring, seals, views = core.ledger, core.codec, core.keyring, core.seals, core.views

        incarnation = await store.incarnation()
        queues = await stack.enter_async_context(open_queues(settings, incarnation))
        tail, conversation_tail, lookout = (
            Tail(),
            ConversationTail(),
            Lookout(store.head, is_alone=not settings.is_shared),
        )
        end_users, directory, past = (
            EndUsers(views, keyring),
            AppDirectory(views),
            _open_past(stack, store, codec, core.projections, SqlScratches(seals, views), reader, clock),
        )
        people, ownership = People(ledger, end_users, new_id), Ownership(end_users, views)
        following = stack.enter_context(closing(Following(ledger, views, tail, conversation_tail, queues.bus, lookout)))
        reads, blobs = ContentReads(ledger, clock), await asyncio.to_thread(blob_store, settings)
        storing, files = open_files(settings, blobs, ledger, views, directory, clock, ownership, reads)
        annotation_views = SqlAnnotationViews(reader, seals)
        annotations = Annotations(annotation_views, features.embedder)
        stack.push_async_callback(annotations.close)
        sending = Sending(
            ledger,
            people,
            ownership,
            Attaching(views, new_id),
            following,
            by_name,
            new_id,
            longest_query=settings.max_query_characters,
            limits=AppLimits(views, keyring, clock, settings.max_app_concurrency),
            keys=IdempotencyKeys(views, keyring, clock, settings.idempotency_hours),
        )
        gates, disclosing = Gates(directory, features.moderators, annotations), Disclosing(keyring)
        stopping, history = (
            Stopping(ledger, views, directory, ownership, queues.bus, clock),
            History(ledger.message, views, end_users, ownership, past, reads),
        )
        indexer = await open_index(
            stack,
            database,
            reader,
            keyring,
            writer,
            incarnation,
            leadership.post("erasure").fence,
            is_wanted=settings.search,
            is_shared=settings.is_shared,
        )
        notary = await open_notary(settings, ledger, reader, keyring, clock, stack)
        forgetting = open_forgetting(
            core,
            stopping,
            blobs,
            reads,
            forgetful=(ledger, tail, conversation_tail, disclosing),
            indexer=indexer,
            signing_keys=(core.signing_keys, notary.signing_keys),
            is_shared=settings.is_shared,
        )
        naming, repeating = (
            Naming(ledger, views, by_name, gates, disclosing),
            Repeating(ledger, views, history, by_name),
        )
        suggesting = Suggesting(ledger, views, history, by_name, disclosing)
        stack.push_async_callback(suggesting.close)
        facts = Facts(store, codec, views, ownership, reads)
        feed = await _open_feed(stack, store, codec, directory, lookout, reads, following)
        deliveries = SqlDeliveries(core.writing, reader, writer.run_alone, leadership.post("webhooks").fence)
        webhooks = open_webhooks(
            stack,
            settings,
            ledger,
            SqlEndpointViews(reader, seals),
            deliveries,
            directory,
            feed,
            clock,
            reads=reads,
            new_id=new_id,
        )
        application = Application(
            sending=sending,
            asking=Asking(sending),
            stopping=stopping,
            renaming=RenamingConversations(ledger, ownership, naming, history),
            deleting=DeletingConversations(ledger, ownership),
            disconnecting=Disconnecting(stopping),
            setting_variables=SettingVariables(
                ledger, views, ownership, Attaching(views, new_id), settings.max_query_characters
            ),
            rating=RatingMessages(ledger, views, ownership, settings.max_query_characters),
            naming=naming,
            suggesting=suggesting,
            repeating=repeating,
            replaying=Replaying(views, directory, repeating, sending),
            speaking=Speaking(ledger, history, features, disclosing, settings.max_query_characters),
            annotating=Annotating(ledger, annotation_views, features, new_id, settings.max_query_characters),
            erasing=forgetting.erasing,
            holds=forgetting.holds,
            apps=ManagingApps(ledger, by_name, features, new_id),
            uploading=Uploading(ledger, people, storing),
            saving=SavingMessages(ledger, views, end_users, ownership),
            pinning=PinningConversations(ledger, views, ownership),
            visiting=Visiting(ledger, directory, end_users, new_id),
            operators=ManagingOperators(ledger, views, reads, new_id),
            notarizing=notary.notarizing,
            rebuilding=await stack.enter_async_context(
                open_rebuilding(
                    store,
                    core.writing,
                    database,
                    writer.run_alone,
                    codec,
                    core.projections,
                    clock,
                    mended=(directory.forget, end_users.forget, annotations.forget),
                )
            ),
            rotating_keys=RotatingKeys(ledger),
            directory=directory,
            credentials=Credentials(views, directory),
            history=history,
            feedbacks=Feedbacks(views, past),
            dead_letters=DeadLetters(SqlDeadLetterViews(reader, seals), ledger.read, reads.note),
            following=following,
            facts=facts,
            feed=feed,
            webhooks=webhooks.managing,
            reads=reads,
            receipts=Receipts(facts, codec, keyring, notary.notarizing, notary.proving, notary.store),
            proving=notary.proving,
            standing=notary.standing,
            searching=Searching(indexer, views, directory, end_users, history, reads),
            access_requests=AccessRequests(
                SqlBelongingsViews(reader, seals), ledger.read, keyring, blobs, clock, reads.note
            ),
            exporting=_open_exporting(stack, database, clock),
            files=files,
            end_users=end_users,
            views=views,
            signing_keys=core.signing_keys,
            rate_limiter=InProcessRateLimiter(),
            clock=clock,
            new_id=new_id,
        )

        subscriptions = _subscriptions(
            settings,
            SqlTracking(core.writing, reader, writer.run_alone, clock),
            LedgerLog(store, codec),
            projections,
            handlers,
        )
        await stack.enter_async_context(subscriptions.following(leadership, grace))

        caches = (lookout, tail, conversation_tail, directory, end_users, annotations)
        for observer in (*caches, subscriptions, application.feed):
            writer.observe(observer.committed)
        await hear_neighbours(
            stack,
            settings,
            core,
            observers=(
                directory.committed,
                end_users.committed,
                annotations.committed,
                webhooks.webhooks.committed,
                forgetting.erasing.committed,
                forgetting.retaining.committed,
                *(() if indexer is None else (indexer.committed,)),
            ),
            forget=(directory.forget, end_users.forget, annotations.forget),
            forgetful=(ledger, tail, conversation_tail),
            wake=(application.feed.hear_of, lambda _: subscriptions.wake()),
        )
        await stack.enter_async_context(
            forgetting.fill(leadership.post("erasure"), writer, await stack.enter_async_context(Background()))
        )
        if with_processes:
            await _start_notary(stack, settings, notary, writer, clock, grace, leadership.post("notary"))
        if with_worker or (with_processes and settings.is_shared):
            await _start_webhooks(stack, webhooks.webhooks, writer, grace, leadership.post("webhooks"))
            await start_reactions(
                stack, settings, application, ledger, queues.tasks, writer, leadership.post("sweeper")
            )
        worker, audience = None, Audience(tail.awaited, views)
        if with_worker:
            worker = await start_worker(
                stack,
                settings,
                application,
                ledger,
                queues,
                by_name,
                gates,
                writer,
                storing=storing,
                audience=audience,
                grace=grace,
            )
        yield Running(
            application, worker, audience, ledger, writer, store, codec, core.projections, reader, subscriptions, grace
        )


def _open_past(
    stack: AsyncExitStack,
    store: SqlLedgerStore,
    codec: EventCodec,
    projections: Projections,
    scratches: SqlScratches,
    reader: Reader,
    clock: Clock,
) -> Past:
    stack.push_async_callback(scratches.close)
    return Past(store, codec, projections, SqlPastPlaces(reader), scratches, clock)


async def _open_feed(
    stack: AsyncExitStack,
    store: SqlLedgerStore,
    codec: EventCodec,
    directory: AppDirectory,
    lookout: Lookout,
    reads: ContentReads,
    following: Following,
) -> Feed:
    incarnation = await store.incarnation()
    feed = Feed(LedgerLog(store, codec), Origins(store), directory, lookout, reads, incarnation, following.closing)
    stack.push_async_callback(feed.close)
    return feed


def _open_generators(
    settings: Settings, generators: Sequence[Generator], stack: AsyncExitStack
) -> Mapping[str, Generator]:
    every_generator = (*built_in(settings, generators), *generators)
    for generator in every_generator:
        stack.push_async_callback(generator.close)
    return by_name_of(every_generator)


async def _start_notary(
    stack: AsyncExitStack,
    settings: Settings,
    notary: OpenNotary,
    writer: GroupCommitWriter,
    clock: Clock,
    grace: Grace,
    post: Post,
) -> None:
    """Begin to sign checkpoints, and to get them out. At the end it signs once more."""
    process = NotaryProcess(notary.notarizing, notary.delivery, clock, new_id, interval=settings.checkpoint_interval)
    writer.observe(process.committed)
    work = (process.run,) if notary.delivery is None else (process.run, notary.delivery.run)
    await stack.enter_async_context(post.filled(*work, finish=partial(process.close, grace)))


async def _start_webhooks(
    stack: AsyncExitStack, webhooks: Webhooks, writer: GroupCommitWriter, grace: Grace, post: Post
) -> None:
    writer.observe(webhooks.committed)
    work = (webhooks.run, webhooks.watch)
    await stack.enter_async_context(post.filled(*work, finish=partial(webhooks.close, grace)))


def _open_exporting(stack: AsyncExitStack, database: Database, clock: Clock) -> Exporting:
    """On a connection of its own, made when it is first needed: an export takes long."""
    reading = database.reading(1)
    stack.callback(reading.dispose)
    return Exporting(SqlExportedLedger(reading), clock, new_id)


def _subscriptions(
    settings: Settings,
    tracking: SqlTracking,
    ledger_log: LedgerLog,
    projections: Sequence[Projection],
    handlers: Sequence[Handler],
) -> Subscriptions:
    pace = SubscriptionSettings(poll=settings.subscription_poll, attempts=settings.subscription_attempts)
    tracked = [SqlTrackedProjection(projection, tracking) for projection in projections]
    return Subscriptions(
        [
            *(ProjectionSubscription(projection, tracking, ledger_log, pace) for projection in tracked),
            *(HandlerSubscription(handler, tracking, ledger_log, pace) for handler in handlers),
        ]
    )
