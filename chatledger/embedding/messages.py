"""Messages: sending and following them, reading them back, rating and stopping them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, get_args
from uuid import UUID

import msgspec

from chatledger.application.accepting import DEFAULT_PAGE, accept_choice, accept_id, accept_number, accept_on_busy
from chatledger.application.as_of import AsOf
from chatledger.application.audit.receipt import Receipt
from chatledger.application.caller import require_chat
from chatledger.application.commands.asking import Answer
from chatledger.application.commands.new_message import NewMessage
from chatledger.application.errors import ClosedError
from chatledger.application.files.attaching import FileReference
from chatledger.application.ledger.envelope import Envelope, Fact
from chatledger.application.ports.views import MessageView, Page
from chatledger.application.queries.history import MessageDetail
from chatledger.application.queries.searching import HitPage, SearchWanted
from chatledger.domain.values import NIL_UUID, OnBusy, Rating
from chatledger.embedding.access import Access
from chatledger.embedding.values import SentMessage, Slice, User, taken_in, under_key

LARGEST_VERSION = 2**63 - 1


class Messages:
    """``ledger.messages``. A ``user`` is the person that the call speaks for, by any name that the host knows them by.

    Without a user a message is sent by one person whom all such calls share; everything else is then done for the app
    as a whole. What only reads can do without an ``app`` too: then it is the host itself that looks at any message.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    async def send(
        self,
        app: UUID,
        query: str,
        *,
        user: User | None = None,
        inputs: Mapping[str, Any] | None = None,
        files: Sequence[FileReference] = (),
        conversation_id: UUID | None = None,
        parent_id: UUID | None = NIL_UUID,
        automatic_name: bool = True,
        on_busy: OnBusy | None = None,
        trace: str | None = None,
        idempotency_key: str | None = None,
    ) -> SentMessage:
        """Ask something in a chat; committed when this returns, and answered whether or not anybody follows.

        Args:
            app: the app that answers.
            query: what is asked.
            user: who asks.
            inputs: values for the variables that the app declares.
            files: what goes with it: uploads of the same user, or addresses on the web, which nobody looks at.
            conversation_id: the conversation to go on with; None begins one.
            parent_id: the message to go on from, by default whatever came before in time; None begins a branch.
            automatic_name: whether a new conversation may get a name that fills a line.
            on_busy: what becomes of it while another message of the conversation is unfinished: ``allow`` answers it
                beside the other, ``reject`` refuses it, ``queue`` answers it after the other, ``interrupt`` ends the
                other first; None for what the app is configured to.
            trace: what to trace it by: on record with the events.
            idempotency_key: what the caller calls this very message: sent again under its key, it is the same one.

        Raises:
            WrongModeError: the app has no conversations.
            IdempotencyKeyReusedError: the key is another message's of the user, or its message has been deleted.
            InvalidParameterError: an argument is not acceptable.
            NotFoundError: the app, the conversation or the parent in it does not exist, or is not the user's.
            AppUnavailableError: the app names a generator that is not there.
            ConversationBusyError: other messages are unfinished, and ``on_busy`` does not let it in beside them.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user, trace)
            require_chat(caller.app)
            sent = await application.sending.send(
                caller, _new(query, inputs, files, conversation_id, parent_id, automatic_name, on_busy, idempotency_key)
            )
            return taken_in(sent)

    async def ask(
        self,
        app: UUID,
        query: str,
        *,
        user: User | None = None,
        inputs: Mapping[str, Any] | None = None,
        files: Sequence[FileReference] = (),
        conversation_id: UUID | None = None,
        parent_id: UUID | None = NIL_UUID,
        automatic_name: bool = True,
        on_busy: OnBusy | None = None,
        trace: str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Send, and wait for the whole answer. Who stops waiting stops nothing: the message is answered all the same.

        Raises:
            GenerationFailedError: the answer ended as errored.
            AnswerPendingError: chatledger closes, or its store is in trouble; there will be an answer.
            ApplicationError: the message was refused, as by :meth:`send`.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user, trace)
            require_chat(caller.app)
            return await application.asking.ask(
                caller, _new(query, inputs, files, conversation_id, parent_id, automatic_name, on_busy, idempotency_key)
            )

    async def regenerate(
        self,
        app: UUID,
        message_id: UUID,
        *,
        user: User | None = None,
        on_busy: OnBusy | None = None,
        idempotency_key: str | None = None,
    ) -> SentMessage:
        """Ask the same once more: a message of its own, with the parent of the first, and the rest as it is sent.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the message does not exist, is not the user's, or its conversation is gone.
            ApplicationError: the message was refused, as by :meth:`send`.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user)
            new = await application.repeating.again(caller, accept_id("message_id", message_id))
            new = msgspec.structs.replace(new, on_busy=accept_on_busy(on_busy))
            sent = await application.sending.send(caller, under_key(new, idempotency_key))
            return taken_in(sent)

    async def follow(
        self, message_id: UUID, *, after: int = 0, app: UUID | None = None, user: User | None = None
    ) -> AsyncGenerator[Envelope, None]:
        """The events of a message after a version, each as soon as it is committed, up to the one that ends the answer.

        The message may be in the making, ended, or a year old; the events are the same each time.

        Raises:
            NotFoundError: the message does not exist, or is not the app's or the user's.
            InvalidParameterError: the message has no such version.
            StorageUnavailableError: the store is in trouble; ``after`` the last version it can be followed on.
            ClosedError: chatledger was closed before the answer ended.
        """
        with self._access.use() as application:
            reader = await self._access.reader(app, user)
            await application.history.message(reader, accept_id("message_id", message_id))
            accept_number("after", after, 0, LARGEST_VERSION)
            with application.following.follow(message_id) as follower:
                batches = follower.batches(after)
                async for batch in application.reads.followed(reader, batches, "message", message_id):
                    for envelope in batch:
                        yield envelope
            if self._access.is_closed and not follower.has_ended:
                raise ClosedError

    async def get(
        self, message_id: UUID, *, app: UUID | None = None, user: User | None = None, as_of: AsOf | None = None
    ) -> MessageDetail:
        """One message as it stands, or stood ``as_of`` a position or a time, with the version of its stream.

        Raises:
            NotFoundError: the message does not exist, or is not the app's or the user's.
            InvalidParameterError: ``as_of`` is no moment of the past.
        """
        with self._access.use() as application:
            reader = await self._access.reader(app, user)
            return await application.history.detail(reader, accept_id("message_id", message_id), as_of)

    async def receipt(
        self,
        message_id: UUID,
        *,
        with_key: bool = False,
        app: UUID | None = None,
        user: User | None = None,
    ) -> Receipt:
        """A file that proves the events of a message to anybody: ``bytes()`` of it, to be kept as they are.

        If the last checkpoint does not cover all of them, one is signed now.

        Args:
            message_id: which.
            with_key: whether to give away what opens all that is sealed of the conversation, so that contents are
                proved too; for the host alone.
            app: whose reading it is; None for the host itself.
            user: on whose behalf.

        Raises:
            NotFoundError: the message does not exist, or is not the app's or the user's.
            InvalidParameterError: it has too many events, or the key is not to be had.
            LedgerInconsistentError: the ledger is not what was signed.
        """
        with self._access.use() as application:
            reader = await self._access.reader(app, user)
            message_id = accept_id("message_id", message_id)
            return await application.receipts.of_message(reader, message_id, with_key=with_key)

    async def events(
        self,
        message_id: UUID,
        *,
        after: int = 0,
        limit: int = DEFAULT_PAGE,
        app: UUID | None = None,
        user: User | None = None,
    ) -> Slice[Fact]:
        """The recorded events of a message after a version, each with who did it and why.

        Raises:
            NotFoundError: the message does not exist, or is not the app's or the user's.
            InvalidParameterError: there is no such version, or a page is not that long.
        """
        with self._access.use() as application:
            reader = await self._access.reader(app, user)
            accept_number("after", after, 0, LARGEST_VERSION)
            facts, has_more = await application.facts.of_message(
                reader, accept_id("message_id", message_id), after, limit
            )
            if not facts:
                await application.facts.require_version(message_id, after)
            return Slice(tuple(facts), has_more)

    async def history(
        self,
        app: UUID,
        conversation_id: UUID,
        *,
        user: User | None = None,
        first_id: UUID | None = None,
        limit: int = DEFAULT_PAGE,
        as_of: AsOf | None = None,
    ) -> Slice[MessageView]:
        """The latest messages of a conversation, oldest first, and whether older ones exist.

        Args:
            app: whose.
            conversation_id: which.
            user: who reads.
            first_id: the oldest message of the part before: those before it.
            limit: how many at most, up to 100.
            as_of: the position of the ledger, or the time, that the answer is to be of; None for now.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the conversation, or the message to go back from, does not exist, or is not the user's.
            InvalidParameterError: a page is not that long, or ``as_of`` is no moment of the past.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user)
            require_chat(caller.app)
            page = Page(limit, None if first_id is None else accept_id("first_id", first_id))
            conversation_id = accept_id("conversation_id", conversation_id)
            messages, has_more = await application.history.messages(caller, conversation_id, page, as_of)
            return Slice(tuple(messages), has_more)

    async def search(
        self,
        app: UUID,
        query: str,
        *,
        user: User | None = None,
        limit: int = DEFAULT_PAGE,
        beyond: int | None = None,
    ) -> HitPage:
        """The newest messages with all of these words in question and answer; what is in quotation marks as it stands.

        A message can be found once its answer is over.

        Args:
            app: whose.
            query: what to look for, up to 200 characters.
            user: whose messages; None for those of all of the app's users.
            limit: how many at most, up to 100.
            beyond: what the page before led on by.

        Raises:
            SearchDisabledError: the setting ``search`` is off.
            NotFoundError: there is no such app.
            InvalidParameterError: there is no word to look for, or there are too many, or a page is not that long.
            StorageUnavailableError: the index is in trouble.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user)
            return await application.searching.search(caller, SearchWanted(query=query, limit=limit, beyond=beyond))

    async def rate(
        self, app: UUID, message_id: UUID, rating: Rating, *, user: User, content: str | None = None
    ) -> None:
        """Give the user's rating; a second one replaces the first.

        Raises:
            NotFoundError: the message does not exist, or is not the user's.
            InvalidParameterError: the user, the rating or its text is not acceptable.
        """
        with self._access.use() as application:
            caller = await self._access.person(app, user)
            accept_choice("rating", rating, get_args(Rating))
            await application.rating.rate(caller, accept_id("message_id", message_id), rating, content)

    async def withdraw_rating(self, app: UUID, message_id: UUID, *, user: User) -> None:
        """Take the user's rating back.

        Raises:
            NotFoundError: the message does not exist, or is not the user's.
            InvalidParameterError: the user is not acceptable, or there is nothing to withdraw.
        """
        with self._access.use() as application:
            caller = await self._access.person(app, user)
            await application.rating.rate(caller, accept_id("message_id", message_id), None, None)

    async def suggest(self, app: UUID, message_id: UUID, *, user: User | None = None) -> tuple[str, ...]:
        """Questions that may follow on an answer; none where the app has no model for it, or the model fails.

        A model is asked once. What it suggests is kept with the message; a failure is not.

        Raises:
            WrongModeError: the app has no conversations.
            FeatureDisabledError: the app suggests no questions.
            NotFoundError: the message does not exist, is not the user's, or its conversation is gone.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user)
            return await application.suggesting.suggest(caller, accept_id("message_id", message_id))

    async def stop(self, app: UUID, message_id: UUID, *, user: User | None = None) -> None:
        """Ask for the end of the answer. What it has said stays; one that has ended is left alone.

        Raises:
            NotFoundError: the message does not exist, or is not the user's.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user)
            await application.stopping.stop_message(caller, accept_id("message_id", message_id))


def _new(
    query: str,
    inputs: Mapping[str, Any] | None,
    files: Sequence[FileReference],
    conversation_id: UUID | None,
    parent_id: UUID | None,
    automatic_name: bool,  # noqa: FBT001
    on_busy: OnBusy | None,
    idempotency_key: str | None,
) -> NewMessage:
    new = NewMessage(
        query=query,
        inputs={} if inputs is None else inputs,
        files=files,
        conversation_id=None if conversation_id is None else accept_id("conversation_id", conversation_id),
        parent_id=None if parent_id is None else accept_id("parent_id", parent_id),
        automatic_name=automatic_name,
        on_busy=accept_on_busy(on_busy),
    )
    return under_key(new, idempotency_key)
