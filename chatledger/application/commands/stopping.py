"""Stopping a generation: a fact on the ledger first, a signal to the worker second."""

from uuid import UUID

from chatledger.application.caller import Caller, Ownership
from chatledger.application.errors import NotFoundError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.queue import LiveBus, QueueItem
from chatledger.application.ports.views import Views
from chatledger.domain.events import REGISTRY
from chatledger.domain.message import Message
from chatledger.domain.values import Usage


class Stopping:
    """The use case of both stop routes."""

    def __init__(self, ledger: Ledger, views: Views, ownership: Ownership, bus: LiveBus) -> None:
        self._ledger = ledger
        self._views = views
        self._ownership = ownership
        self._bus = bus

    async def stop(self, caller: Caller, task_id: UUID) -> None:
        """Ask for the end of a generation. A task that is unknown, ended or another's is left alone, without a word."""
        view = await self._views.message_of_task(task_id)
        if view is None:
            return
        try:
            await self._ownership.require(caller, "task", view.app_id, view.end_user_id)
        except NotFoundError:
            return
        committed = await self._ledger.decide(
            Message, view.message_id, self._request_stop, caller.context(view.end_user_id)
        )
        for envelope in committed:
            self._bus.publish(
                QueueItem(
                    task_id=task_id,
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
