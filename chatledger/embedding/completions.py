"""Completions: texts made of inputs, without a conversation. Once sent they are messages like any other."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from chatledger.application.accepting import DEFAULT_PAGE, accept_id
from chatledger.application.caller import require_completion
from chatledger.application.commands.asking import Answer
from chatledger.application.commands.new_message import NewMessage
from chatledger.application.files.attaching import FileReference
from chatledger.application.ports.views import MessageView, Page
from chatledger.embedding.access import Access
from chatledger.embedding.values import SentMessage, Slice, User, taken_in, under_key


class Completions:
    """``ledger.completions``. What a ``user`` is, :class:`Messages` says."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def send(
        self,
        app: UUID,
        *,
        inputs: Mapping[str, Any] | None = None,
        query: str = "",
        files: Sequence[FileReference] = (),
        user: User | None = None,
        trace: str | None = None,
        idempotency_key: str | None = None,
    ) -> SentMessage:
        """Ask for a completion; committed when this returns, and answered whether or not anybody follows.

        Args:
            app: the app that answers.
            inputs: values for the variables that the app declares.
            query: what it is about; also the value of a variable of that name which the inputs leave out.
            files: what goes with it: uploads of the same user, or addresses on the web, which nobody looks at.
            user: who asks.
            trace: what to trace it by: on record with the events.
            idempotency_key: what the caller calls this very request: sent again under its key, it is the same one.

        Raises:
            WrongModeError: the app makes no completions.
            IdempotencyKeyReusedError: the key is another request's of the user.
            InvalidParameterError: an argument is not acceptable.
            NotFoundError: there is no such app.
            AppUnavailableError: the app names a generator that is not there.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user, trace)
            require_completion(caller.app)
            new = NewMessage(query=query, inputs={} if inputs is None else inputs, files=files)
            sent = await application.sending.send(caller, under_key(new, idempotency_key))
            return taken_in(sent)

    async def ask(
        self,
        app: UUID,
        *,
        inputs: Mapping[str, Any] | None = None,
        query: str = "",
        files: Sequence[FileReference] = (),
        user: User | None = None,
        trace: str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Ask, and wait for the whole text. Who stops waiting stops nothing: it is made all the same.

        Raises:
            GenerationFailedError: it ended as errored.
            AnswerPendingError: chatledger closes, or its store is in trouble; there will be an answer.
            ApplicationError: it was refused, as by :meth:`send`.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user, trace)
            require_completion(caller.app)
            new = NewMessage(query=query, inputs={} if inputs is None else inputs, files=files)
            return await application.asking.ask(caller, under_key(new, idempotency_key))

    async def send_more_like(
        self,
        app: UUID,
        message_id: UUID,
        *,
        user: User | None = None,
        trace: str | None = None,
        idempotency_key: str | None = None,
    ) -> SentMessage:
        """Ask for another completion of the same, of a model that is set to be bolder where it can be.

        It is a new message of the same person. The original stays as it is, and is on record as the cause.

        Raises:
            WrongModeError: the app makes no completions.
            FeatureDisabledError: the app gives no more like this.
            NotFoundError: the message does not exist, or is not the user's.
            AppUnavailableError: the generator that the message was for is not there any more.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user, trace)
            new = await application.repeating.more_like(caller, accept_id("message_id", message_id))
            sent = await application.sending.send(caller, under_key(new, idempotency_key))
            return taken_in(sent)

    async def save(self, app: UUID, message_id: UUID, *, user: User) -> None:
        """Keep a completion at hand for the user. Doing so again changes nothing.

        Raises:
            WrongModeError: the app makes no completions.
            NotFoundError: the message does not exist, or is not the user's.
        """
        with self._access.use() as application:
            caller = await self._access.person(app, user)
            require_completion(caller.app)
            await application.saving.save(caller, accept_id("message_id", message_id))

    async def unsave(self, app: UUID, message_id: UUID, *, user: User) -> None:
        """Keep a completion at hand no longer. Doing so again changes nothing.

        Raises:
            WrongModeError: the app makes no completions.
            NotFoundError: the message does not exist, or is not the user's.
        """
        with self._access.use() as application:
            caller = await self._access.person(app, user)
            require_completion(caller.app)
            await application.saving.unsave(caller, accept_id("message_id", message_id))

    async def saved(
        self, app: UUID, *, user: User, last_id: UUID | None = None, limit: int = DEFAULT_PAGE
    ) -> Slice[MessageView]:
        """What the user keeps at hand, the last saved first, and whether there is more.

        Args:
            app: where.
            user: whose.
            last_id: the last message of the part before: those after it.
            limit: how many at most, up to 100.

        Raises:
            WrongModeError: the app makes no completions.
            InvalidParameterError: a page is not that long, or the message to go on from is not among them.
        """
        with self._access.use() as application:
            caller = await self._access.person(app, user)
            require_completion(caller.app)
            page = Page(limit, None if last_id is None else accept_id("last_id", last_id))
            found, has_more = await application.saving.saved(caller, page)
            return Slice(tuple(found), has_more)
