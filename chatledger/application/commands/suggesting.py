"""Suggesting what to ask next: a model is asked once for each answer, and its questions are kept on the ledger."""

import asyncio
import logging
from collections.abc import Mapping
from uuid import UUID

from chatledger.application.caller import Caller
from chatledger.application.context import Context
from chatledger.application.erasure.disclosing import Disclosing
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
from chatledger.application.ports.views import AppView, Views
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

    def __init__(
        self,
        ledger: Ledger,
        views: Views,
        history: History,
        generators: Mapping[str, Generator],
        disclosing: Disclosing,
    ) -> None:
        self._ledger = ledger
        self._views = views
        self._history = history
        self._generators = generators
        self._disclosing = disclosing
        self._under_way: dict[UUID, asyncio.Task[Questions]] = {}
        self._places = asyncio.Semaphore(CONCURRENCY)

    async def suggest(self, caller: Caller, message_id: UUID) -> Questions:
        """Questions that may follow on an answer; none where the app has no model for it, or the model fails.

        Raises:
            WrongModeError: the app is of a kind that suggests none.
            FeatureDisabledError: the app suggests none.
            NotFoundError: the message does not exist, is not the caller's, or its conversation is gone.
            KeyDestroyedError: it has been erased.
            StorageUnavailableError: the store is in trouble.
            ClosedError: chatledger closes.
        """
        require_suggestions(caller.app)
        owner_id = (await self._history.message(caller, message_id, where_deleted="conversation")).end_user_id
        return await self._join(message_id, caller.context_of_change(owner_id))

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _join(self, message_id: UUID, context: Context) -> Questions:
        """A caller that goes away ends nothing: others may wait, or come back."""
        task = self._under_way.get(message_id)
        if task is None:
            task = asyncio.create_task(self._propose(message_id, context))
            self._under_way[message_id] = task
            task.add_done_callback(lambda _: self._under_way.pop(message_id))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise ClosedError from None
            raise

    async def _propose(self, message_id: UUID, context: Context) -> Questions:
        """What is kept or, where nothing is, what a model thinks of: looked up here, after whoever asked before.

        Who waits for a place has nothing in hand of what was said: it may be erased meanwhile.
        """
        known = await self._views.suggestions(message_id)
        if known is not None:
            return known
        async with self._places:
            found = await self._ask(message_id)
        kept: Questions = ()

        def decide(staged: Staged[Message]) -> None:
            nonlocal kept
            staged.aggregate.propose_questions(found)
            kept = staged.aggregate.suggestions or ()

        if found:
            await self._ledger.decide(Message, message_id, decide, context)
        return kept

    async def _ask(self, message_id: UUID) -> Questions:
        """What the model says that the message was for, under the settings that it was sent with."""
        message, staged = await self._views.message(message_id), await self._ledger.load(Message, message_id)
        if message is None or message.prompt is None or staged is None:
            return ()
        created = staged.aggregate.created
        model = model_of(self._generators.get(created.generator), created.parameters)
        if model is None:
            return ()
        earlier = await self._views.exchanges(
            message_id,
            staged.aggregate.context_cut,
            longest=MAX_ANCESTORS,
            tokens=0,
            most=MAX_EXCHANGES - 1,
        )
        exchanges = [*earlier, Exchange(message.prompt, message.answer)]
        try:
            async with self._disclosing.while_sealed(staged.key_id):
                return questions_in(await write_text(model, suggestions_request(exchanges)))
        except GeneratorError as error:
            # Its text may be a provider's, and quote what was asked.
            log.warning("no suggestions for message %s: %s", message_id, error.kind)
            return ()
