"""Reads of other people's content by operators: each is on record before anything is shown."""

import asyncio
from collections import OrderedDict
from datetime import datetime
from uuid import UUID

from chatledger.application.caller import Auditor, Caller, Reader
from chatledger.application.context import Actor, Context
from chatledger.application.ledger.hand_ins import VersionConflictError
from chatledger.application.ledger.ledger import MAX_TRIES, Ledger
from chatledger.application.ports.clock import Clock
from chatledger.domain.operator import CONSOLE_ID, Operator
from chatledger.domain.values import ReadSubject

REMEMBERED = 100_000

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
