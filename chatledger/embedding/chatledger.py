"""The front door. What stands behind it is imported when it opens: to name it costs next to nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatledger.adapters.persistence.tracking import Projection
    from chatledger.application.ledger.subscription import Handler
    from chatledger.application.ports.generator import Generator
    from chatledger.bootstrap import Running
    from chatledger.embedding.access import Access
    from chatledger.embedding.annotations import Annotations
    from chatledger.embedding.apps import Apps
    from chatledger.embedding.audio import Audio
    from chatledger.embedding.completions import Completions
    from chatledger.embedding.conversations import Conversations
    from chatledger.embedding.dead_letters import DeadLetters
    from chatledger.embedding.events import Events
    from chatledger.embedding.exports import Exports
    from chatledger.embedding.files import Files
    from chatledger.embedding.keys import Keys
    from chatledger.embedding.messages import Messages
    from chatledger.embedding.notary import Notary
    from chatledger.embedding.operators import Operators
    from chatledger.embedding.people import People
    from chatledger.embedding.read_models import ReadModels
    from chatledger.embedding.subscriptions import Subscriptions
    from chatledger.embedding.tasks import Tasks
    from chatledger.embedding.webhooks import Webhooks
    from chatledger.settings import Settings


class Chatledger:
    """An open chatledger in this process; :meth:`open` makes one.

    It belongs to the event loop that it was opened in. Several may be open at once, each with a store and a data folder
    of its own. After the block every method raises ``ClosedError``. Whatever writes may also raise
    ``StorageUnavailableError``, where the store is in trouble, and ``VersionConflictError``, where others were faster
    many times in a row; then nothing was written, and it may be tried again.

    Attributes:
        apps: set up apps, configure them, look at them.
        operators: issue the tokens of operators.
        messages: send, follow, read, rate and stop.
        completions: ask apps that have no conversations.
        conversations: list a person's conversations.
        annotations: have an app answer questions without its generator.
        audio: write down what is said, say what is written.
        people: erase them, hold what is theirs.
        dead_letters: look over what failed for good, and ask it again.
        events: read and follow what happens, in the order of the ledger.
        exports: the ledger as a file that can be checked without it, and all of one person, readable.
        files: upload what goes with messages, and read it back.
        notary: have the ledger signed, and prove what is in it.
        read_models: make what everything is shown from anew.
        tasks: see how far a generation has come, and stop it.
        subscriptions: see how the host's own projections and handlers do, and read what they made.
        webhooks: have endpoints elsewhere told of what happens.
    """

    annotations: "Annotations"
    apps: "Apps"
    audio: "Audio"
    operators: "Operators"
    messages: "Messages"
    completions: "Completions"
    conversations: "Conversations"
    dead_letters: "DeadLetters"
    events: "Events"
    exports: "Exports"
    files: "Files"
    notary: "Notary"
    read_models: "ReadModels"
    keys: "Keys"
    people: "People"
    tasks: "Tasks"
    subscriptions: "Subscriptions"
    webhooks: "Webhooks"

    def __init__(self, access: "Access", running: "Running") -> None:
        from chatledger.embedding import (  # noqa: PLC0415
            annotations,
            apps,
            audio,
            completions,
            conversations,
            dead_letters,
            events,
            exports,
            files,
            keys,
            messages,
            notary,
            operators,
            people,
            read_models,
            subscriptions,
            tasks,
            webhooks,
        )

        self.annotations = annotations.Annotations(access)
        self.apps = apps.Apps(access)
        self.audio = audio.Audio(access)
        self.operators = operators.Operators(access)
        self.messages = messages.Messages(access)
        self.completions = completions.Completions(access)
        self.conversations = conversations.Conversations(access)
        self.dead_letters = dead_letters.DeadLetters(access)
        self.events = events.Events(access)
        self.exports = exports.Exports(access)
        self.files = files.Files(access)
        self.notary = notary.Notary(access)
        self.read_models = read_models.ReadModels(access)
        self.keys = keys.Keys(access)
        self.people = people.People(access)
        self.tasks = tasks.Tasks(access)
        self.subscriptions = subscriptions.Subscriptions(access, running)
        self.webhooks = webhooks.Webhooks(access)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: "Settings",
        *,
        generators: "Sequence[Generator]" = (),
        projections: "Sequence[Projection]" = (),
        handlers: "Sequence[Handler]" = (),
    ) -> "AsyncIterator[Chatledger]":
        """Open the store and answer messages, until the end of the block.

        At the end nothing new is taken in; running generations, and whatever is waited for in this process, may end
        within ``shutdown_grace`` seconds and are then left to whoever opens the store next; every thread, task and
        connection is given back. A cancellation cuts neither the opening nor the closing short, and goes on right
        after.

        Args:
            settings: where the store is, and how generations are made.
            generators: what may answer beside the built-in ones. They are closed at the end, or where opening fails.
            projections: read models of the host's own, in the ledger's database, which follow the ledger.
            handlers: code of the host's own that reacts to events.

        Raises:
            SettingsProblemError: a setting is one of a server, or names a folder that cannot be made or written to.
            InvalidParameterError: a generator has the name of another one.
            SubscriptionProblemError: a projection or a handler cannot be run.
            StorageUnavailableError: the store is in trouble, or its database cannot be reached.
            StoreBusyError: the store, or the data folder with its keys, is open already, here or in another process.
            SchemaError: the store was written by a newer release.
            MasterKeyError: the master key is missing, or is not the one of the key store.
        """
        await asyncio.to_thread(import_module, "chatledger.bootstrap")
        from chatledger.bootstrap import open_chatledger  # noqa: PLC0415
        from chatledger.embedding.access import Access  # noqa: PLC0415
        from chatledger.embedding.lifetime import kept_whole  # noqa: PLC0415

        opening = open_chatledger(
            settings, with_server=False, generators=generators, projections=projections, handlers=handlers
        )
        async with kept_whole(opening) as running:
            access = Access(running.application)
            try:
                yield cls(access, running)
            finally:
                access.close()
