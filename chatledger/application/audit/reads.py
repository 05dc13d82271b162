"""Reads of other people's content by operators: each is on record before anything is shown."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from chatledger.application.caller import Auditor, Caller, Reader
from chatledger.application.context import Actor, Context
from chatledger.application.errors import UnauthorizedError
from chatledger.application.ledger.hand_ins import VersionConflictError
from chatledger.application.ledger.ledger import MAX_TRIES, Ledger
from chatledger.application.ports.clock import Clock
from chatledger.domain.operator import CONSOLE_ID, Operator
from chatledger.domain.values import ReadSubject

REMEMBERED = 100_000

T = TypeVar("T")
Batches = AsyncGenerator[Sequence[T], None]

_Read = tuple[UUID, ReadSubject, UUID | None, datetime]


class ContentReads:
    """One event for each operator, subject and hour of UTC: whoever follows for long writes no more than that.

    What an app reads is its own, and nothing is noted of it. That an hour's read is on record already is known to this
    process alone: after a restart it may be recorded once more.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._recorded: OrderedDict[_Read, None] = OrderedDict()
        self._turn = asyncio.Lock()
        self._revoked = set[UUID]()

    def end_for(self, operator_id: UUID) -> None:
        """Let all that an operator follows end: their token was revoked."""
        self._revoked.add(operator_id)

    def followed(
        self, reader: Reader, batches: Batches[T], subject: ReadSubject, subject_id: UUID | None = None
    ) -> Batches[T]:
        """The batches that a reader follows, for an operator each hour of them on record before it is shown.

        Args:
            reader: who.
            batches: what they follow; without news an empty one comes each second.
            subject: what kind of thing it is.
            subject_id: which.

        Raises:
            UnauthorizedError: while iterating: the operator's token has been revoked.
            StorageUnavailableError: while iterating: nothing gets on record for now.
        """
        return batches if isinstance(reader, Caller) else self._watched(reader, batches, subject, subject_id)

    async def _watched(
        self, auditor: Auditor, batches: Batches[T], subject: ReadSubject, subject_id: UUID | None
    ) -> Batches[T]:
        async with aclosing(batches):
            async for batch in batches:
                if auditor.operator_id in self._revoked:
                    raise UnauthorizedError
                if batch:
                    await self.note(auditor, subject, subject_id)
                yield batch

    async def note(self, reader: Reader, subject: ReadSubject, subject_id: UUID | None = None) -> None:
        """Put on record that somebody is about to read; it is committed when this returns.

        Args:
            reader: who.
            subject: what kind of thing is read; all of the ledger has no id.
            subject_id: which.

        Raises:
            StorageUnavailableError: nothing gets on record for now, and so nothing may be shown.
        """
        if isinstance(reader, Caller):
            return
        hour = self._clock.now().replace(minute=0, second=0, microsecond=0)
        read = (reader.operator_id or CONSOLE_ID, subject, subject_id, hour)
        if read in self._recorded:
            return
        async with self._turn:
            if read not in self._recorded:
                await self._record(reader, read)

    async def _record(self, auditor: Auditor, read: _Read) -> None:
        operator_id, subject, subject_id, _ = read
        actor = Actor("operator", "" if auditor.operator_id is None else str(operator_id))
        context = Context(actor=actor, correlation_id=auditor.correlation_id)
        for _ in range(MAX_TRIES):
            staged = await self._ledger.at_its_end(Operator, operator_id)
            staged.aggregate.record_read(subject, subject_id)
            try:
                await self._ledger.hand_in(staged, context=context)
            except VersionConflictError:
                continue
            self._recorded[read] = None
            if len(self._recorded) > REMEMBERED:
                self._recorded.popitem(last=False)
            return
        raise VersionConflictError(str(operator_id))
