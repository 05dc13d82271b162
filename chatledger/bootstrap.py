"""The composition root: settings in, a running application out. The only module that knows every adapter."""

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, select

from chatledger.adapters.embedder.openai_compatible import OpenAIEmbedder
from chatledger.adapters.files.folder import FolderBlobStore
from chatledger.adapters.files.s3 import S3BlobStore
from chatledger.adapters.generator.agent import AgentGenerator
from chatledger.adapters.generator.agent_settings import Provider
from chatledger.adapters.generator.extractive import ExtractiveGenerator
from chatledger.adapters.generator.local_model import LocalModelGenerator
from chatledger.adapters.generator.openai_compatible import OpenAICompatibleGenerator
from chatledger.adapters.generator.scripted import ScriptedGenerator
from chatledger.adapters.keys.signing import SqliteSigningKeys
from chatledger.adapters.keys.store import MasterKeyError, SqliteKeyring, load_master_key
from chatledger.adapters.moderator.keywords import KeywordModerator
from chatledger.adapters.moderator.openai_compatible import OpenAIModerator
from chatledger.adapters.openai_clients import DEFAULT_BASE_URL, OpenAIClients
from chatledger.adapters.persistence.annotation_views import SqlAnnotationViews
from chatledger.adapters.persistence.database import Database, database_at
from chatledger.adapters.persistence.lock import DataFolderLock
from chatledger.adapters.persistence.migrate import HEAD_REVISION, require_current, schema_revision, upgrade
from chatledger.adapters.persistence.open_ledgers import lent_ledger
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore
from chatledger.adapters.persistence.tables import APPS
from chatledger.adapters.persistence.tracking import Projection, SqlTrackedProjection, SqlTracking
from chatledger.adapters.persistence.views import SqlViews
from chatledger.adapters.queue.in_process import InProcessLiveBus, InProcessTaskQueue
from chatledger.adapters.rate_limiter.in_process import InProcessRateLimiter
from chatledger.adapters.speech.openai_compatible import OpenAISpeech
from chatledger.application.app_limits import AppLimits
from chatledger.application.application import Application
from chatledger.application.caller import EndUsers, Ownership
from chatledger.application.commands.annotating import Annotating
from chatledger.application.commands.asking import Asking
from chatledger.application.commands.deleting import DeletingConversations
from chatledger.application.commands.managing_apps import ManagingApps
from chatledger.application.commands.managing_operators import ManagingOperators
from chatledger.application.commands.naming import Naming
from chatledger.application.commands.pinning import PinningConversations
from chatledger.application.commands.rating import RatingMessages
from chatledger.application.commands.renaming import RenamingConversations
from chatledger.application.commands.repeating import Repeating
from chatledger.application.commands.saving import SavingMessages
from chatledger.application.commands.sending import Sending
from chatledger.application.commands.setting_variables import SettingVariables
from chatledger.application.commands.speaking import Speaking
from chatledger.application.commands.stopping import Stopping
from chatledger.application.commands.suggesting import Suggesting
from chatledger.application.commands.uploading import Uploading
from chatledger.application.commands.visiting import Visiting
from chatledger.application.errors import InvalidParameterError
from chatledger.application.fault_report import describe
from chatledger.application.features import Features
from chatledger.application.files.attaching import Attaching
from chatledger.application.files.limits import FileLimits
from chatledger.application.files.links import FileLinks
from chatledger.application.files.storing import StoringFiles
from chatledger.application.generation.annotations import Annotations
from chatledger.application.generation.automatic_naming import AutomaticNaming
from chatledger.application.generation.dispatch import Dispatcher, Sweeper
from chatledger.application.generation.failures import RetryPolicy
from chatledger.application.generation.moderating import Gates
from chatledger.application.generation.worker import Worker, WorkerSettings
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.ledger import HOT_MESSAGES, Ledger
from chatledger.application.ledger.log import LedgerLog
from chatledger.application.ledger.projections import Projections
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ledger.subscription import (
    Handler,
    HandlerSubscription,
    ProjectionSubscription,
    SubscriptionSettings,
)
from chatledger.application.ledger.subscriptions import Subscriptions
from chatledger.application.ledger.tail import Tail
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.people import People
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.files import BlobStore
from chatledger.application.ports.generator import Generator
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.queue import LiveBus
from chatledger.application.ports.views import Views
from chatledger.application.queries.credentials import Credentials
from chatledger.application.queries.directory import AppDirectory
from chatledger.application.queries.facts import Facts
from chatledger.application.queries.feedbacks import Feedbacks
from chatledger.application.queries.following import Following
from chatledger.application.queries.history import History
from chatledger.application.queries.stored_files import StoredFiles
from chatledger.application.system_clock import SystemClock, new_id
from chatledger.settings import Settings, SettingsProblemError, require_no_server

log = logging.getLogger(__name__)

OPERATIONAL_STATE = ("leases",)
RESTART_PAUSE = 1.0
SECONDS_FOR_A_COMMAND = 3_600.0


class Running(msgspec.Struct, frozen=True):
    """An open chatledger: its use cases, and what its server and its command line need beside them."""

    application: Application
    worker: Worker | None
    ledger: Ledger
    writer: GroupCommitWriter
    store: SqlLedgerStore
    codec: EventCodec
    projections: Projections
    reader: Reader
    subscriptions: Subscriptions


class Reading(msgspec.Struct, frozen=True):
    """A store that is open for reading, whoever else may be writing to it."""

    reader: Reader
    keyring: SqliteKeyring
    codec: EventCodec
    projections: Projections
    views: SqlViews


class Repairing(msgspec.Struct, frozen=True):
    """A store that is open for the repair of its read models, whatever their version; nothing runs beside it."""

    store: SqlLedgerStore
    codec: EventCodec
    projections: Projections


class NoStoreError(Exception):
    """There is nothing to read yet."""


@asynccontextmanager
async def open_chatledger(
    settings: Settings,
    *,
    with_server: bool = True,
    with_worker: bool = True,
    generators: Sequence[Generator] = (),
    projections: Sequence[Projection] = (),
    handlers: Sequence[Handler] = (),
) -> AsyncIterator[Running]:
    """Open the store, start what runs beside it, and close everything at the end, the given generators too.

    Args:
        settings: of this server.
        with_server: whether settings of a server mean anything here; else they are refused.
        with_worker: whether it answers messages itself.
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
        every_generator = (*_built_in(settings, generators), *generators)
        for generator in every_generator:
            stack.push_async_callback(generator.close)
        by_name = _by_name(every_generator)
        features = _features(settings, stack)
        if not with_server:
            require_no_server(settings)
        _make_folders(settings)
        clock, loop = SystemClock(), asyncio.get_running_loop()

        database = _database(settings)
        writing = await asyncio.to_thread(stack.enter_context, _alone(settings, database))
        await asyncio.to_thread(upgrade, writing)
        lent = lent_ledger(settings.ledger_url, database, settings.durability, writing, clock, new_id)
        stack.enter_context(lent)
        keyring, signing_keys = await asyncio.to_thread(stack.enter_context, _open_keys(settings, clock))
        reader = Reader(database.reading())
        store = SqlLedgerStore(writing, reader, has_one_writer=database.has_one_writer)
        stack.push_async_callback(store.close)
        await reader.query(lambda connection: _require_keys(connection, keyring))
        codec, seals = EventCodec(keyring), RowSeals(keyring)
        inline, views, annotation_views = Projections(seals), SqlViews(reader, seals), SqlAnnotationViews(reader, seals)

        await asyncio.to_thread(_forget_operational_state, store)
        writer = GroupCommitWriter(store, codec, keyring, inline, clock, loop)
        writer.start((await store.head()).position)
        stack.push_async_callback(writer.close)

        bus, tail = InProcessLiveBus(), Tail()
        ledger = Ledger(store, codec, keyring, writer, new_id, hot_messages=HOT_MESSAGES if with_worker else 0)
        end_users = EndUsers(views, keyring)
        people, ownership = People(ledger, end_users, new_id), Ownership(end_users, views)
        directory = AppDirectory(views)
        following = stack.enter_context(closing(Following(ledger, tail, bus)))
        storing, files = await asyncio.to_thread(_open_files, settings, ledger, views, clock, ownership)
        annotations = Annotations(annotation_views, features.embedder)
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
        )
        stopping, naming = Stopping(ledger, views, ownership, bus), Naming(ledger, views, by_name)
        history = History(ledger, views, end_users, ownership)
        suggesting = Suggesting(ledger, views, history, by_name)
        stack.push_async_callback(suggesting.close)
        application = Application(
            sending=sending,
            asking=Asking(sending),
            stopping=stopping,
            renaming=RenamingConversations(ledger, ownership, naming, history),
            deleting=DeletingConversations(ledger, views, ownership, stopping),
            setting_variables=SettingVariables(
                ledger, views, ownership, Attaching(views, new_id), settings.max_query_characters
            ),
            rating=RatingMessages(ledger, views, ownership, settings.max_query_characters),
            naming=naming,
            suggesting=suggesting,
            repeating=Repeating(ledger, views, history, by_name),
            speaking=Speaking(history, features, settings.max_query_characters),
            annotating=Annotating(ledger, annotation_views, features, new_id, settings.max_query_characters),
            apps=ManagingApps(ledger, by_name, features, new_id),
            uploading=Uploading(ledger, people, storing),
            saving=SavingMessages(ledger, views, end_users, ownership),
            pinning=PinningConversations(ledger, views, ownership),
            visiting=Visiting(ledger, directory, end_users, new_id),
            operators=ManagingOperators(ledger, new_id),
            directory=directory,
            credentials=Credentials(views, directory),
            history=history,
            feedbacks=Feedbacks(views),
            following=following,
            facts=Facts(store, codec),
            files=files,
            end_users=end_users,
            views=views,
            signing_keys=signing_keys,
            rate_limiter=InProcessRateLimiter(),
            clock=clock,
            new_id=new_id,
        )

        tracking = SqlTracking(writing, reader, writer.run_alone, clock)
        subscriptions = _subscriptions(settings, tracking, LedgerLog(store, codec), projections, handlers)
        stack.push_async_callback(subscriptions.close)
        await subscriptions.start()

        for observer in (tail, directory, annotations, subscriptions):
            writer.observe(observer.committed)
        worker = None
        if with_worker:
            gates = Gates(directory, features.moderators, annotations)
            worker = await _start_worker(
                stack, settings, application, ledger, bus, by_name, gates, writer, storing=storing
            )
        yield Running(application, worker, ledger, writer, store, codec, inline, reader, subscriptions)


async def _start_worker(
    stack: AsyncExitStack,
    settings: Settings,
    application: Application,
    ledger: Ledger,
    bus: LiveBus,
    generators: Mapping[str, Generator],
    gates: Gates,
    writer: GroupCommitWriter,
    *,
    storing: StoringFiles,
) -> Worker:
    """Begin what follows the commits of this process. It is drained first, and then cancelled."""
    queue, views, clock = InProcessTaskQueue(), application.views, application.clock
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
        sent_files=application.files.sent,
    )
    followers = (
        worker,
        Dispatcher(queue),
        Sweeper(views, queue, clock, settings.heartbeat),
        AutomaticNaming(ledger, views, application.naming),
    )
    for follower in followers:
        writer.observe(follower.committed)
    background = await stack.enter_async_context(_Background())
    background.start(*(follower.run for follower in followers), worker.keep_leases)
    stack.push_async_callback(worker.drain, settings.shutdown_grace)
    return worker


@asynccontextmanager
async def open_for_reading(settings: Settings) -> AsyncIterator[Reading]:
    """Open an existing store on connections that cannot write; a server may go on beside it.

    Raises:
        NoStoreError: there is no store yet.
        SchemaError: the store's schema is not the one of this release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    _require_store(settings)
    engine = _database(settings).reading(patience=SECONDS_FOR_A_COMMAND)
    async with AsyncExitStack() as stack:
        stack.callback(engine.dispose)
        await asyncio.to_thread(require_current, engine)
        keyring = stack.enter_context(_open_keyring(settings, read_only=True))
        reader = Reader(engine)
        stack.push_async_callback(asyncio.to_thread, reader.close)
        seals = RowSeals(keyring)
        yield Reading(reader, keyring, EventCodec(keyring), Projections(seals), SqlViews(reader, seals))


@asynccontextmanager
async def open_for_repair(settings: Settings) -> AsyncIterator[Repairing]:
    """Open an existing store alone, bring its schema up to date, and leave its read models as they are.

    Raises:
        NoStoreError: there is no store yet.
        StoreBusyError: a server has the store open.
        SchemaError: the store was written by a newer release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    async with AsyncExitStack() as stack:
        _require_store(settings)
        database = _database(settings)
        writing = await asyncio.to_thread(stack.enter_context, _alone(settings, database))
        store = SqlLedgerStore(writing, Reader(database.reading(patience=SECONDS_FOR_A_COMMAND)))
        stack.push_async_callback(store.close)
        await asyncio.to_thread(upgrade, writing)
        keyring = stack.enter_context(_open_keyring(settings))
        yield Repairing(store, EventCodec(keyring), Projections(RowSeals(keyring)))


def migrate(settings: Settings) -> tuple[str | None, str]:
    """Bring the store's schema up to date, from nothing if need be; the revision before, and the one now. Blocks.

    Raises:
        SettingsProblemError: a folder that the settings name cannot be made, or not be written to.
        StoreBusyError: a server has the store open.
        SchemaError: the store was written by a newer release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    _make_folders(settings)
    with _alone(settings, _database(settings)) as engine, ExitStack() as stack:
        before = schema_revision(engine)
        upgrade(engine)
        keyring = stack.enter_context(_open_keyring(settings))
        _require_keys(stack.enter_context(engine.connect()), keyring)
    return before, HEAD_REVISION


def make_generators(settings: Settings) -> Mapping[str, Generator]:
    """Every generator that an app may name. Whoever uses one closes it."""
    return _by_name(_built_in(settings))


def _database(settings: Settings) -> Database:
    return database_at(settings.ledger_url, settings.durability)


@contextmanager
def _alone(settings: Settings, database: Database) -> Iterator[Engine]:
    """The ledger may lie outside of the data folder, with whose keys and control socket it is used."""
    with DataFolderLock(settings.data_dir / "keys.db"), database.alone() as engine:
        yield engine


def _require_store(settings: Settings) -> None:
    for path in (settings.database_path, settings.data_dir / "keys.db"):
        if path is not None and not path.exists():
            raise NoStoreError(f"there is no {path} yet: `chatledger serve` or `chatledger migrate` makes a store")


def _require_keys(connection: Connection, keyring: SqliteKeyring) -> None:
    """A ledger in a database could be opened with another folder's keys: then nothing on it could be read."""
    key_id = connection.execute(select(APPS.c.key_id).limit(1)).scalar()
    if key_id is not None:
        try:
            keyring.key(key_id)
        except KeyDestroyedError as error:
            raise MasterKeyError("the key store of this data folder is not the one of the ledger") from error


def _make_folders(settings: Settings) -> None:
    """Make what is not there yet, private; all of it, or nothing."""
    folders = {"data_dir": settings.data_dir}
    if settings.database_path is not None:
        folders["database_url"] = settings.database_path.parent
    with ExitStack() as undoing:
        for setting, folder in folders.items():
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            undoing.callback(_remove_empty, missing)
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                # Only a file tells: what the mode says binds neither root nor a file system that nobody writes to.
                with tempfile.TemporaryFile(dir=folder):
                    pass
            except OSError as error:
                raise SettingsProblemError(f"{setting}: {folder} cannot be written to: {error.strerror}") from error
        undoing.pop_all()


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _open_keyring(settings: Settings, *, read_only: bool = False) -> Iterator[SqliteKeyring]:
    key_store, master_key = settings.data_dir / "keys.db", settings.data_dir / "master.key"
    if key_store.exists() and not master_key.exists():
        raise MasterKeyError(f"{key_store} is there, but its master key {master_key} is not")
    keyring = SqliteKeyring(key_store, load_master_key(master_key), new_id, read_only=read_only)
    try:
        yield keyring
    finally:
        keyring.close()


def _open_files(
    settings: Settings, ledger: Ledger, views: Views, clock: Clock, ownership: Ownership
) -> tuple[StoringFiles, StoredFiles]:
    """Files on their way in, and out again."""
    blobs = _blob_store(settings)
    links = FileLinks(ledger.keyring, clock, settings.file_link_lifetime)
    storing = StoringFiles(ledger, blobs, _file_limits(settings), new_id)
    return storing, StoredFiles(views, ledger.keyring, blobs, links, ownership)


def _blob_store(settings: Settings) -> BlobStore:
    return object_storage(settings) or FolderBlobStore(settings.data_dir / "files")


def object_storage(settings: Settings) -> S3BlobStore | None:
    """Where the bytes of files are, if not in the data folder."""
    if settings.files_url is None:
        return None
    parts, secret = urlsplit(settings.files_url), settings.files_secret_access_key
    return S3BlobStore(
        parts.netloc,
        parts.path.strip("/"),
        endpoint=settings.files_endpoint,
        region=settings.files_region,
        access_key_id=settings.files_access_key_id,
        secret_access_key=None if secret is None else secret.get_secret_value(),
    )


def _file_limits(settings: Settings) -> FileLimits:
    return FileLimits(
        image=settings.image_file_size_limit,
        audio=settings.audio_file_size_limit,
        video=settings.video_file_size_limit,
        other=settings.file_size_limit,
        blocked_extensions=frozenset(settings.blocked_file_extensions),
    )


@contextmanager
def _open_keys(settings: Settings, clock: Clock) -> Iterator[tuple[SqliteKeyring, SqliteSigningKeys]]:
    key_store, master_key = settings.data_dir / "keys.db", settings.data_dir / "master.key"
    with (
        _open_keyring(settings) as keyring,
        closing(SqliteSigningKeys(key_store, load_master_key(master_key), clock, new_id)) as signing_keys,
    ):
        yield keyring, signing_keys


def _forget_operational_state(store: SqlLedgerStore) -> None:
    """Whoever holds the lock knows that every earlier worker is dead: its leases bind nobody."""
    with store.write() as transaction:
        transaction.clear(OPERATIONAL_STATE)


def _built_in(settings: Settings, given: Sequence[Generator] = ()) -> Sequence[Generator]:
    """Those that there always are; a host's own agent takes the place of the one here, with its name."""
    keys = _api_keys(settings)
    openai = (
        OpenAICompatibleGenerator(api_key=keys.get("openai"))
        if settings.openai_base_url is None
        else OpenAICompatibleGenerator(base_url=settings.openai_base_url, api_key=keys.get("openai"))
    )
    agent = AgentGenerator(
        base_urls={} if settings.openai_base_url is None else {"openai": settings.openai_base_url}, api_keys=keys
    )
    has_agent = any(isinstance(generator, AgentGenerator) and generator.name == agent.name for generator in given)
    agents = () if has_agent else (agent,)
    return ScriptedGenerator(), ExtractiveGenerator(), LocalModelGenerator(), openai, *agents


def _api_keys(settings: Settings) -> dict[Provider, str]:
    keys: dict[Provider, SecretStr | None] = {
        "openai": settings.openai_api_key,
        "anthropic": settings.anthropic_api_key,
        "google": settings.google_api_key,
    }
    return {provider: key.get_secret_value() for provider, key in keys.items() if key}


def _features(settings: Settings, stack: AsyncExitStack) -> Features:
    """What the server's own provider is asked for beside answers, over connections that are closed at the end."""
    clients = OpenAIClients(
        base_url=settings.openai_base_url or DEFAULT_BASE_URL, api_key=_api_keys(settings).get("openai")
    )
    stack.push_async_callback(clients.close)
    moderators = (KeywordModerator(), OpenAIModerator(clients))
    speech = OpenAISpeech(
        clients,
        hears_with=settings.transcription_model,
        speaks_with=settings.speech_model,
        usual_voice=settings.speech_voice,
    )
    return Features(
        moderators={moderator.name: moderator for moderator in moderators},
        embedder=OpenAIEmbedder(clients),
        speech_to_text=speech,
        text_to_speech=speech,
    )


def _by_name(generators: Sequence[Generator]) -> Mapping[str, Generator]:
    by_name: dict[str, Generator] = {}
    for generator in generators:
        if generator.name in by_name:
            raise InvalidParameterError("generators", f"there is a generator named {generator.name!r} already")
        by_name[generator.name] = generator
    return by_name


def _worker_settings(settings: Settings) -> WorkerSettings:
    return WorkerSettings(
        name=f"{settings.worker_name}:{os.getpid()}",
        concurrency=settings.worker_concurrency,
        lease=settings.lease,
        heartbeat=settings.heartbeat,
        timeout=settings.generation_timeout,
        flush_interval=settings.flush_interval_ms / 1000,
        retry=RetryPolicy(
            attempts=settings.attempts,
            first_delay=settings.first_retry_delay,
            longest_delay=settings.longest_retry_delay,
        ),
    )


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
        ],
        settings.shutdown_grace,
    )


class _Background:
    """Owns what runs beside the use cases. Work that fails unexpectedly is logged and begun again."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks += [asyncio.create_task(_keep_running(begin)) for begin in work]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _keep_running(begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            return await begin()
        except Exception as error:  # noqa: BLE001 - what runs in the background has nobody else to tell
            log.critical("begun again: %s", describe(error))
            await asyncio.sleep(RESTART_PAUSE)
