"""Dead letters: messages that ended as errored."""

from typing import get_args
from uuid import UUID

from chatledger.application.accepting import DEFAULT_PAGE, accept_choice, accept_id
from chatledger.application.ports.dead_letters import DeadLetter, WantedLetters
from chatledger.application.ports.views import Page
from chatledger.application.queries.dead_letters import DeadLetterDetail
from chatledger.domain.values import ErrorCode
from chatledger.embedding.access import Access
from chatledger.embedding.values import SentMessage, Slice


class DeadLetters:
    """``ledger.dead_letters``. It is the host itself that looks, and asks again."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def list(
        self,
        *,
        app: UUID | None = None,
        code: ErrorCode | None = None,
        is_open: bool | None = None,
        limit: int = DEFAULT_PAGE,
        last_id: UUID | None = None,
    ) -> Slice[DeadLetter]:
        """A page of the messages that failed for good, the last that ended first.

        Args:
            app: those of this app.
            code: those with this error code.
            is_open: those in whose place nothing was asked yet, or with False the others.
            limit: how many at most.
            last_id: the last message of the page before.

        Raises:
            InvalidParameterError: there is no such code, or a page is not that long.
            NotFoundError: ``last_id`` is none of them.
        """
        with self._access.use() as application:
            wanted = WantedLetters(
                app_id=None if app is None else accept_id("app", app),
                code=None if code is None else accept_choice("code", code, get_args(ErrorCode)),
                is_open=is_open,
            )
            page = Page(limit, None if last_id is None else accept_id("last_id", last_id))
            found, has_more = await application.dead_letters.page(wanted, page)
            return Slice(tuple(found), has_more)

    async def show(self, message_id: UUID) -> DeadLetterDetail:
        """One of them, with what became of each attempt; a failure's detail may be a provider's words.

        Raises:
            NotFoundError: there is no such message, or it did not fail for good.
        """
        with self._access.use() as application:
            return await application.dead_letters.show(accept_id("message_id", message_id), self._access.auditor())

    async def replay(self, message_id: UUID, *, force: bool = False) -> SentMessage:
        """Ask the same once more, beside the failed message and within the limits of its app.

        Args:
            message_id: of the failed message.
            force: whether to do so even while an earlier replay is unfinished, or after one was answered.

        Raises:
            NotFoundError: there is no such dead letter, or its conversation is gone.
            AlreadyReplayedError: an earlier replay is unfinished or was answered.
            ApplicationError: the message was refused, as by ``ledger.messages.send``.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with self._access.use() as application:
            message_id = accept_id("message_id", message_id)
            sent = await application.replaying.replay(message_id, self._access.host(), force=force)
            return SentMessage(message_id=sent.message_id, task_id=sent.task_id, conversation_id=sent.conversation_id)
