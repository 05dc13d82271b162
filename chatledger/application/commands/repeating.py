"""Asking the same once more: another answer beside the first, or another completion like it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from chatledger.application.caller import Caller, require_chat
from chatledger.application.commands.new_message import NewMessage, Repetition
from chatledger.application.errors import FeatureDisabledError, NotFoundError, WrongModeError
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.generator import Generator, SettingsError
from chatledger.application.ports.views import AppView, MessageView, Views
from chatledger.application.queries.dead_letters import failure_in
from chatledger.application.queries.history import History
from chatledger.domain.events import MessageCreated

TEMPERATURE = 0.9
"""What a model is set to, so that it says something else this time."""


def require_more_like_this(app: AppView) -> None:
    """Let only apps pass that give more of the same kind.

    Raises:
        WrongModeError: the app is of a kind that never does.
        FeatureDisabledError: its configuration does not say so.
    """
    if app.mode != "completion":
        raise WrongModeError("completion", is_feature=True)
    if not app.configuration.more_like_this.enabled:
        raise FeatureDisabledError("more_like_this")


class Repeating:
    """Makes a new message of an old one; :class:`Sending` and :class:`Asking` send it."""

    def __init__(self, ledger: Ledger, views: Views, history: History, generators: Mapping[str, Generator]) -> None:
        self._ledger = ledger
        self._views = views
        self._history = history
        self._generators = generators

    async def more_like(self, caller: Caller, message_id: UUID) -> NewMessage:
        """A message of the same person that asks the same of the same generator, which is to be bolder.

        Raises:
            WrongModeError: the app makes no completions.
            FeatureDisabledError: the app gives no more.
            NotFoundError: the message does not exist, or is not the caller's.
            KeyDestroyedError: what was asked has been erased.
        """
        require_more_like_this(caller.app)
        repetition = await self._of(await self._history.message(caller, message_id))
        original = repetition.original
        bolder = self._bolder(original.generator, original.parameters)
        return NewMessage(
            query=original.query,
            inputs=original.inputs,
            repetition=msgspec.structs.replace(repetition, parameters=bolder),
        )

    async def again(self, caller: Caller, message_id: UUID) -> NewMessage:
        """A message that asks the same of the same generator, with the same said before it.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the message is not the caller's, or its conversation is gone.
            KeyDestroyedError: what was asked has been erased.
        """
        require_chat(caller.app)
        message = await self._history.message(caller, message_id)
        repetition = await self._of(message)
        return NewMessage(
            query=repetition.original.query,
            inputs=repetition.original.inputs,
            conversation_id=message.conversation_id,
            parent_id=await self._views.parent(message),
            repetition=repetition,
        )

    async def replay(self, caller: Caller, message_id: UUID, *, force: bool) -> NewMessage:
        """A message that takes the place of one that failed: the same asked of the same generator, beside it.

        It interrupts nobody, and waits for its turn where the app lets messages do so.

        Raises:
            NotFoundError: the message does not exist or did not fail, or its conversation is gone.
            KeyDestroyedError: what was asked has been erased.
        """
        message = await self._history.message(caller, message_id, where_deleted="conversation")
        failed_by, _ = failure_in(await self._ledger.read(message_id))
        repetition = msgspec.structs.replace(
            await self._of(message), event_id=failed_by, replays=message_id, force=force
        )
        new = NewMessage(
            query=repetition.original.query,
            inputs=repetition.original.inputs,
            repetition=repetition,
        )
        if message.mode == "completion":
            return new
        return msgspec.structs.replace(
            new,
            conversation_id=message.conversation_id,
            parent_id=await self._views.parent(message),
            on_busy="allow" if caller.app.configuration.on_busy == "allow" else "queue",
        )

    async def _of(self, message: MessageView) -> Repetition:
        first = await self._ledger.first(message.message_id)
        if first is None or not isinstance(first.body, MessageCreated):
            raise NotFoundError("message")
        return Repetition(
            event_id=first.event_id,
            original=first.body,
            parameters=first.body.parameters,
            owner_id=message.end_user_id,
        )

    def _bolder(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """The settings with that temperature, where the generator has one to set."""
        bolder = {**parameters, "temperature": TEMPERATURE}
        try:
            self._generators[name].check_settings(bolder)
        except (KeyError, SettingsError):
            return parameters
        return bolder
