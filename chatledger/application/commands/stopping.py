"""Stopping a generation: a fact on the ledger first, a signal to the worker second."""

from uuid import UUID

import msgspec

from chatledger.application.caller import Caller, Ownership
from chatledger.application.context import SYSTEM, Context
from chatledger.application.errors import Missing, NotFoundError
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.queue import LiveBus, QueueItem
from chatledger.application.ports.views import MessageView, Views
from chatledger.application.queries.directory import AppDirectory
from chatledger.domain.events import REGISTRY
from chatledger.domain.message import Message
from chatledger.domain.values import StoppedBy, Usage


class Stopping:
    """The use case of both stop routes, and of all else that ends an answer from outside of its worker."""

    def __init__(
        self,
        ledger: Ledger,
        views: Views,
        directory: AppDirectory,
        ownership: Ownership,
        bus: LiveBus,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._directory = directory
        self._views = views
        self._ownership = ownership
        self._bus = bus
        self._clock = clock

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

    async def stop_for(self, reason: StoppedBy, message_id: UUID, because_of: UUID | None = None) -> None:
        """Ask for the end of a generation where nobody calls for it: something else is the reason, or a message is."""
        view = await self._views.message(message_id)
        if view is None:
            return
        context = Context(actor=SYSTEM, correlation_id=view.task_id, app_id=view.app_id)
        if because_of is not None and (cause := await self._ledger.first(because_of)):
            context = msgspec.structs.replace(context, causation_id=cause.event_id)
        await self._request(view, reason, context)

    async def _stop(self, caller: Caller, missing: Missing, view: MessageView | None) -> None:
        if view is None:
            raise NotFoundError(missing)
        await self._ownership.require(caller, missing, view.app_id, view.end_user_id)
        await self._request(view, "user", caller.context_of_change(view.end_user_id))

    async def _request(self, view: MessageView, by: StoppedBy, context: Context) -> None:
        """Where no worker is at it, the message ends here and now; else its worker ends it.

        Text that a dead worker left is the next worker's to end where it has to be judged: what is erased need not be.
        """
        now = to_microseconds(self._clock.now())
        abandoned = await self._views.abandoned_attempt(view.message_id, now)
        is_judged = by != "erasure" and abandoned is not None and await self._judges_answers(view.app_id)

        def request_stop(staged: Staged[Message]) -> None:
            message = staged.aggregate
            message.request_stop(by)
            is_alone = not message.attempt_is_open or (
                message.attempt == abandoned and not (is_judged and message.answer)
            )
            if is_alone and message.stop_requested_by and not message.has_ended and staged.key_id is not None:
                key = self._ledger.keyring.key(staged.key_id)
                fingerprint = key.fingerprint(message.answer.encode())
                message.stop(message.attempt, message.stop_requested_by, Usage(), fingerprint)

        committed = await self._ledger.decide(Message, view.message_id, request_stop, context)
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

    async def _judges_answers(self, app_id: UUID) -> bool:
        try:
            app = await self._directory.app(app_id)
        except NotFoundError:
            return False
        return app.configuration.sensitive_word_avoidance.applies_to("output")
