"""Making receipts: what a reader may see of a message or a conversation, with its proofs."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec

from chatledger.application.audit.export_lines import source_of
from chatledger.application.audit.notarizing import Notarizing
from chatledger.application.audit.proving import Proving
from chatledger.application.audit.receipt import NOTHING, Receipt, ReceiptEvent, Subject, receipt_event
from chatledger.application.audit.tlog_proof import TlogProof
from chatledger.application.caller import Auditor, Caller, Reader
from chatledger.application.context import Actor, Context
from chatledger.application.disclosure import event_data
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.application.ledger.codec import EventCodec, associated_data
from chatledger.application.ports.keys import KeyDestroyedError, Keyring
from chatledger.application.ports.notary import NotaryStore
from chatledger.application.ports.storage import EventRow
from chatledger.application.queries.facts import Facts
from chatledger.domain.visibility import visibilities

MOST_EVENTS = 5_000


class Receipts:
    """One file for each wish. Nothing of them is kept."""

    def __init__(
        self,
        facts: Facts,
        codec: EventCodec,
        keyring: Keyring,
        notarizing: Notarizing,
        proving: Proving,
        store: NotaryStore,
    ) -> None:
        self._facts = facts
        self._codec = codec
        self._keyring = keyring
        self._notarizing = notarizing
        self._proving = proving
        self._store = store

    async def of_message(self, reader: Reader, message_id: UUID, *, with_key: bool = False) -> Receipt:
        """That of a message, as it is now.

        Args:
            reader: who may see it, and what of it.
            message_id: which.
            with_key: whether to give away the data key of its conversation, so that whoever has the receipt can open
                the sealed parts instead of believing what they are said to say. It opens all of the conversation.

        Raises:
            NotFoundError: it is not the reader's.
            InvalidParameterError: it has too many events for one file, or the key is asked for by an app, or gone.
            LedgerInconsistentError: the ledger is not what was signed.
            StorageUnavailableError: no checkpoint that covers it can be signed for now.
        """
        rows = await self._facts.rows_of_message(reader, message_id, MOST_EVENTS + 1)
        return await self._make(reader, Subject("message", message_id), rows, with_key=with_key)

    async def of_conversation(self, reader: Reader, conversation_id: UUID, *, with_key: bool = False) -> Receipt:
        """That of a conversation and all its messages, as they are now; else as :meth:`of_message`."""
        rows = await self._facts.rows_of_conversation(reader, conversation_id, MOST_EVENTS + 1)
        return await self._make(reader, Subject("conversation", conversation_id), rows, with_key=with_key)

    async def of_erasure(self, auditor: Auditor, end_user_id: UUID) -> Receipt:
        """That a person was erased: who asked for it and when, and what was theirs.

        Raises:
            NotFoundError: nobody has asked for it, or it is not done yet.
            LedgerInconsistentError: the ledger is not what was signed.
            StorageUnavailableError: no checkpoint that covers it can be signed for now.
        """
        rows = await self._facts.rows_of_erased_person(end_user_id, MOST_EVENTS + 1)
        return await self._make(auditor, Subject("end_user", end_user_id), rows, with_key=False)

    async def of_either(self, reader: Reader, subject_id: UUID, *, with_key: bool = False) -> Receipt:
        """That of a message or a conversation, whichever has this id; else as :meth:`of_message`.

        An auditor may also name a person who is erased.
        """
        try:
            return await self.of_message(reader, subject_id, with_key=with_key)
        except NotFoundError:
            pass
        try:
            return await self.of_conversation(reader, subject_id, with_key=with_key)
        except NotFoundError:
            if isinstance(reader, Caller):
                raise
            return await self.of_erasure(reader, subject_id)

    async def _make(self, reader: Reader, subject: Subject, rows: Sequence[EventRow], *, with_key: bool) -> Receipt:
        if len(rows) > MOST_EVENTS:
            raise InvalidParameterError(
                f"{subject.kind}_id", f"a receipt has at most {MOST_EVENTS:,} events; the {subject.kind} has more"
            )
        secret = await asyncio.to_thread(self._secret, reader, rows) if with_key else None
        proofs = await self._proofs(reader, [row.position for row in rows])
        source = source_of(await self._store.incarnation())

        def written() -> tuple[ReceiptEvent, ...]:
            return tuple(
                self._event(reader, row, source, proof, whole=with_key) for row, proof in zip(rows, proofs, strict=True)
            )

        return Receipt(
            subject=subject,
            verifier_keys=tuple(str(each.key) for each in self._notarizing.keys.all()),
            events=await asyncio.to_thread(written),
            data_key=secret,
        )

    async def _proofs(self, reader: Reader, positions: Sequence[int]) -> Sequence[TlogProof]:
        """By the last checkpoint, if it covers all; else by one that is signed for it."""
        newest = await self._proving.newest_size()
        size = newest if newest >= positions[-1] else (await self._notarizing.checkpoint(_context(reader))).size
        return await self._proving.inclusions(positions, size)

    def _secret(self, reader: Reader, rows: Sequence[EventRow]) -> bytes:
        if isinstance(reader, Caller):
            raise InvalidParameterError("with_key", "a key is not given away to an app")
        key_id = next((row.key_id for row in rows if row.key_id is not None), None)
        if key_id is None:
            raise InvalidParameterError("with_key", "nothing of it is sealed")
        try:
            return self._keyring.secret(key_id)
        except KeyDestroyedError:
            raise InvalidParameterError("with_key", "the key has been destroyed: what it sealed is erased") from None

    def _event(self, reader: Reader, row: EventRow, source: str, proof: TlogProof, *, whole: bool) -> ReceiptEvent:
        if row.sealed is None or row.key_id is None:
            return receipt_event(row, source, proof)
        if whole:
            bound = associated_data(row.stream_id, row.event_id, row.name, row.schema)
            return receipt_event(row, source, proof, msgspec.Raw(self._keyring.key(row.key_id).open(row.sealed, bound)))
        envelope = self._codec.decode_or_erased(row)
        if envelope.is_erased:
            return receipt_event(row, source, proof, is_erased=True)
        data, kinds = event_data(reader, envelope), visibilities(type(envelope.body))
        shown = data if isinstance(data, dict) else msgspec.structs.asdict(data)
        sealed = {name: value for name, value in shown.items() if kinds[name] == "sealed"}
        return receipt_event(row, source, proof, msgspec.Raw(msgspec.json.encode(sealed)) if sealed else NOTHING)


def _context(reader: Reader) -> Context:
    """The metadata of what a checkpoint that is asked for may record."""
    if isinstance(reader, Caller):
        return reader.context(None)
    actor = Actor("operator", "" if reader.operator_id is None else str(reader.operator_id))
    return Context(actor=actor, correlation_id=reader.correlation_id)
