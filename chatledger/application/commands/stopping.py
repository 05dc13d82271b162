"""Stopping a generation: a fact on the ledger first, a signal to the worker second."""

from uuid import UUID

from chatledger.application.caller import Caller, Ownership
from chatledger.application.context import SYSTEM, Context
from chatledger.application.errors import Missing, NotFoundError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.queue import LiveBus, QueueItem
from chatledger.application.ports.views import MessageView, Views
from chatledger.domain.events import REGISTRY
from chatledger.domain.message import Message
from chatledger.domain.values import Usage


class Stopping:
    """The use case of both stop routes, and what ends the answers in conversations that are gone."""

    def __init__(self, ledger: Ledger, views: Views, ownership: Ownership, bus: LiveBus) -> None:
        self._ledger = ledger
        self._views = views
        self._ownership = ownership
        self._bus = bus

    async def stop(self, caller: Caller, task_id: UUID) -> None:
        """Ask for the end of a generation, by its task. One that has ended is left alone.

        Raises:
            NotFoundError: it is not the caller's.
        """
        await self._stop(caller, "task", await self._views.message_of_task(task_id))

    async def stop_message(self, caller: Caller, message_id: UUID) -> None:
        """Ask for the end of a generation, by its message. One that has ended is left alone.

        Raises:
            NotFoundError: it is not the caller's.
        """
        await self._stop(caller, "message", await self._views.message(message_id))

    async def stop_unseen(self, message_id: UUID) -> None:
        """Ask for the end of a generation in a conversation that is gone: whose it was can ask no more."""
        view = await self._views.message(message_id)
        if view is not None:
            await self._request(view, Context(actor=SYSTEM, correlation_id=view.task_id, app_id=view.app_id))

    async def _stop(self, caller: Caller, missing: Missing, view: MessageView | None) -> None:
        if view is None:
            raise NotFoundError(missing)
        await self._ownership.require(caller, missing, view.app_id, view.end_user_id)
        await self._request(view, caller.context_of_change(view.end_user_id))

    async def _request(self, view: MessageView, context: Context) -> None:
        committed = await self._ledger.decide(Message, view.message_id, self._request_stop, context)
        for envelope in committed:
            self._bus.publish(
                QueueItem(
                    task_id=view.task_id,
                    message_id=view.message_id,
                    conversation_id=view.conversation_id,
                    mode=view.mode,
                    event=REGISTRY.of(type(envelope.body)).name,
                    source="pipeline",
                    version=envelope.version,
                )
            )

    def _request_stop(self, staged: Staged[Message]) -> None:
        """Where no attempt is open there is no worker to end it: the message ends here and now."""
        message = staged.aggregate
        message.request_stop("user")
        if not message.has_ended and not message.attempt_is_open and staged.key_id is not None:
            key = self._ledger.keyring.key(staged.key_id)
            message.stop(message.attempt, "user", Usage(), key.fingerprint(message.answer.encode()))
