"""Suggesting what to ask next: a model is asked once for each answer, and its questions are kept on the ledger."""

import asyncio
import logging
from collections.abc import Mapping
from uuid import UUID

from chatledger.application.caller import Caller
from chatledger.application.context import Context
from chatledger.application.errors import ClosedError, FeatureDisabledError, WrongModeError
from chatledger.application.generation.small_texts import (
    MAX_EXCHANGES,
    model_of,
    questions_in,
    suggestions_request,
    write_text,
)
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.generator import Exchange, Generator, GeneratorError
from chatledger.application.ports.views import AppView, MessageView, Views
from chatledger.application.queries.history import History
from chatledger.domain.message import Message

log = logging.getLogger(__name__)

CONCURRENCY = 32

MAX_ANCESTORS = 10
"""Messages that are looked at for the exchanges before an answer: some may have no answer."""

Questions = tuple[str, ...]


def require_suggestions(app: AppView) -> None:
    """Let only apps pass that suggest questions.

    Raises:
        WrongModeError: the app is of a kind that never does.
        FeatureDisabledError: its configuration does not say so.
    """
    if app.mode == "completion":
        raise WrongModeError("chat", is_feature=True)
    if not app.configuration.suggested_questions_after_answer.enabled:
        raise FeatureDisabledError("suggested_questions_after_answer")


class Suggesting:
    """However many ask at once for one message, its model is asked once. Failures are not kept."""

    def __init__(self, ledger: Ledger, views: Views, history: History, generators: Mapping[str, Generator]) -> None:
        self._ledger = ledger
        self._views = views
        self._history = history
        self._generators = generators
        self._under_way: dict[UUID, asyncio.Task[Questions]] = {}
        self._places = asyncio.Semaphore(CONCURRENCY)

    async def suggest(self, caller: Caller, message_id: UUID) -> Questions:
        """Questions that may follow on an answer; none where the app has no model for it, or the model fails.

        Raises:
            WrongModeError: the app is of a kind that suggests none.
            FeatureDisabledError: the app suggests none.
            NotFoundError: the message does not exist, is not the caller's, or its conversation is gone.
            StorageUnavailableError: the store is in trouble.
            ClosedError: chatledger closes.
        """
        require_suggestions(caller.app)
        message = await self._history.message(caller, message_id, where_deleted="conversation")
        return await self._join(message, caller)

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _join(self, message: MessageView, caller: Caller) -> Questions:
        """A caller that goes away ends nothing: others may wait, or come back."""
        message_id = message.message_id
        task = self._under_way.get(message_id)
        if task is None:
            task = asyncio.create_task(self._propose(message, caller.context_of_change(message.end_user_id)))
            self._under_way[message_id] = task
            task.add_done_callback(lambda _: self._under_way.pop(message_id))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise ClosedError from None
            raise

    async def _propose(self, message: MessageView, context: Context) -> Questions:
        """What is kept or, where nothing is, what a model thinks of: looked up here, after whoever asked before."""
        known = await self._views.suggestions(message.message_id)
        if known is not None:
            return known
        async with self._places:
            found = await self._ask(message)
        kept: Questions = ()

        def decide(staged: Staged[Message]) -> None:
            nonlocal kept
            staged.aggregate.propose_questions(found)
            kept = staged.aggregate.suggestions or ()

        if found:
            await self._ledger.decide(Message, message.message_id, decide, context)
        return kept

    async def _ask(self, message: MessageView) -> Questions:
        """What the model says that the message was for, under the settings that it was sent with."""
        if message.prompt is None:
            return ()
        staged = await self._ledger.load(Message, message.message_id)
        if staged is None:
            return ()
        created = staged.aggregate.created
        model = model_of(self._generators.get(created.generator), created.parameters)
        if model is None:
            return ()
        earlier = await self._views.exchanges(
            message.message_id,
            staged.aggregate.context_cut,
            longest=MAX_ANCESTORS,
            tokens=0,
            most=MAX_EXCHANGES - 1,
        )
        exchanges = [*earlier, Exchange(message.prompt, message.answer)]
        try:
            return questions_in(await write_text(model, suggestions_request(exchanges)))
        except GeneratorError as error:
            # Its text may be a provider's, and quote what was asked.
            log.warning("no suggestions for message %s: %s", message.message_id, error.kind)
            return ()
