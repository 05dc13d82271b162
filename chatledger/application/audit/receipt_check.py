"""Whether a receipt proves what it says, without the ledger that it comes from."""

import struct
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from chatledger.application.audit.export_lines import UnexportableError, event_line, row_of
from chatledger.application.audit.findings import Findings
from chatledger.application.audit.merkle import ProofError, verify_inclusion
from chatledger.application.audit.notes import Checkpoint, Note, NoteError, UnverifiedNoteError, VerifierKey
from chatledger.application.audit.receipt import Receipt, ReceiptEvent, read_receipt
from chatledger.application.audit.tlog_proof import TlogProof
from chatledger.application.audit.trust import Trust
from chatledger.application.audit.verification import SEALED_CONTENT, Report
from chatledger.application.ledger.codec import EventCodec, associated_data
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.audit import ClaimedCheckpoint
from chatledger.application.ports.keys import DataKey, SealBrokenError
from chatledger.application.ports.storage import EventRow
from chatledger.domain.errors import DomainError
from chatledger.domain.events import MessageCompleted, MessageStopped

_NO_EVENT = (msgspec.MsgspecError, UnexportableError, RecursionError, OverflowError, ValueError, struct.error)

OpenKey = Callable[[bytes], DataKey]
"""A data key that is ready for use, from its secret."""

VOUCHED_FOR = (
    "that the contents are what the sealed parts say: whoever made the receipt says so, and the sealed parts, which "
    "are proved, open under a key that is not in it"
)
OTHERS = "whether other events followed, or have followed since: a receipt shows what there was and nothing else"
OTHER_MESSAGES = "whether the conversation had other messages: whole ones could have been left out"
KEY_UNBOUND = (
    "that the data key is the one that sealed all this: no answer in the receipt has ended, and only the keyed hash of "
    "one that has shows that; whoever sealed something could have prepared another key for the same bytes"
)
FROM_THE_RECEIPT = (
    "whose keys these are: they were taken from the receipt itself; --public-key, with a key from somewhere else, "
    "answers that"
)


class BadReceiptError(Exception):
    """A file is no receipt."""


def verify_receipt(
    raw: bytes, place: str, trust: Trust, outside: Sequence[ClaimedCheckpoint], open_key: OpenKey
) -> Report:
    """Check a receipt.

    Raises:
        BadReceiptError: it is none.
    """
    try:
        receipt = read_receipt(raw)
        if not trust.is_given:
            for key in receipt.verifier_keys:
                trust.introduce(1, VerifierKey.parse(key))
    except (msgspec.DecodeError, RecursionError, NoteError) as error:
        raise BadReceiptError(str(error)) from error
    check = _ReceiptCheck(receipt, trust)
    check.events()
    unchecked = [OTHERS]
    if receipt.subject.kind == "conversation":
        unchecked.append(OTHER_MESSAGES)
    if receipt.data_key is not None:
        check.contents(open_key(receipt.data_key) if len(receipt.data_key) == 32 else None)
        if not check.is_key_bound:
            unchecked.append(KEY_UNBOUND)
    elif any(bytes(each.content) for each in receipt.events):
        unchecked.append(VOUCHED_FOR)
    elif any(row.sealed for row in check.rows):
        unchecked.append(SEALED_CONTENT)
    if not trust.is_given:
        unchecked.append(FROM_THE_RECEIPT)
    unchecked += check.outside(outside)
    return check.report(place, unchecked)


class _ReceiptCheck:
    """One receipt on its way through.

    Attributes:
        is_key_bound: whether an answer has under the data key the keyed hash that is on record.
    """

    def __init__(self, receipt: Receipt, trust: Trust) -> None:
        self._receipt = receipt
        self._trust = trust
        self._findings = Findings()
        self._checkpoints: dict[bytes, Checkpoint | None] = {}
        self._counting: list[Checkpoint] = []
        self._origins: set[str] = set()
        self._sources: set[str] = set()
        self._versions: dict[UUID, int] = {}
        self._conversations: dict[UUID, UUID | None] = {}
        self._pairs: list[tuple[ReceiptEvent, EventRow]] = []
        self.is_key_bound = False

    @property
    def rows(self) -> list[EventRow]:
        """Those that could be read."""
        return [row for _, row in self._pairs]

    # Each event: its leaf, its place in its stream, its proof

    def events(self) -> None:
        """All of them, in order."""
        last = 0
        for number, each in enumerate(self._receipt.events, 1):
            try:
                row, source = row_of(bytes(each.event))
                is_as_written = event_line(row, source).removesuffix(b"\n") == bytes(each.event)
                is_its_leaf = row.leaf == leaf_hash(row)
            except _NO_EVENT:
                self._findings.add("malformed", f"entry {number} is no event of a ledger")
                continue
            self._pairs.append((each, row))
            self._sources.add(source)
            if not is_as_written:
                self._findings.add("malformed", "its attributes are not those of its row", row.position)
            if not is_its_leaf:
                self._findings.add(
                    "changed", "the row does not give its leaf: one of the two was changed", row.position
                )
            if row.position <= last:
                self._findings.add("order", f"position {row.position} stands after {last}", row.position)
            last = row.position
            self._check_place(row)
            self._check_proof(row, each.proof)
            self._check_seal(each, row)
        subject = self._receipt.subject
        if not self._pairs:
            self._findings.add("missing", "there is no event in it")
        elif subject.id not in self._versions:
            self._findings.add("missing", f"no event of the {subject.kind} itself is in it")
        for names, what in (
            (self._origins, "checkpoints are of several logs"),
            (self._sources, "events name several ledgers"),
        ):
            if len(names) > 1:
                self._findings.add("checkpoint", f"its {what}: {', '.join(sorted(names))}")

    def _check_seal(self, each: ReceiptEvent, row: EventRow) -> None:
        """What an event says of its sealed part, whether anything opens that or not."""
        if bytes(each.content) and (row.sealed is None or each.is_erased):
            why = "is said to be erased" if each.is_erased else "has no sealed part"
            self._findings.add("content", f"it has a content, and {why}", row.position)
        if each.is_erased and (row.sealed is None or self._receipt.data_key is not None):
            why = "has no sealed part" if row.sealed is None else "its key is in the receipt"
            self._findings.add("content", f"it is said to be erased, and {why}", row.position)

    def _check_place(self, row: EventRow) -> None:
        expected = self._versions.get(row.stream_id, 0) + 1
        if row.version != expected:
            text = f"version {row.version} of its stream, where {expected} was to come"
            self._findings.add("version", text, row.position)
        self._versions[row.stream_id] = row.version
        if not self._belongs(row):
            self._findings.add("stream", "the event is of something else than the receipt", row.position)

    def _belongs(self, row: EventRow) -> bool:
        subject = self._receipt.subject
        if row.stream_id == subject.id:
            return row.category == subject.kind
        if subject.kind == "message" or row.category != "message":
            return False
        if row.version == 1:
            self._conversations[row.stream_id] = _conversation_of(row)
        return self._conversations.get(row.stream_id) == subject.id

    def _check_proof(self, row: EventRow, text: str) -> None:
        try:
            proof = TlogProof.parse(text.encode())
        except NoteError as error:
            self._findings.add("tree", f"its proof cannot be read: {error}", row.position)
            return
        checkpoint = self._checkpoint(proof.checkpoint)
        if checkpoint is None:
            return
        if proof.index != row.position - 1:
            self._findings.add("tree", f"its proof is of position {proof.index + 1}", row.position)
            return
        try:
            verify_inclusion(proof.index, checkpoint.size, row.leaf, proof.hashes, checkpoint.root)
        except ProofError as error:
            self._findings.add("tree", f"its proof does not lead to the checkpoint: {error}", row.position)

    def _checkpoint(self, raw: bytes) -> Checkpoint | None:
        """The checkpoint, if it can be read; what is wrong with it is said once."""
        if raw not in self._checkpoints:
            self._checkpoints[raw] = None
            try:
                note = Note.parse(raw)
                self._checkpoints[raw] = checkpoint = Checkpoint.parse(note.text)
                self._origins.add(checkpoint.origin)
                self._trust.require_signer(note)
                self._counting.append(checkpoint)
            except UnverifiedNoteError as error:
                self._findings.add("unsigned", f"the checkpoint: {error}")
            except NoteError as error:
                self._findings.add("checkpoint", f"the checkpoint cannot be read: {error}")
        return self._checkpoints[raw]

    # What the sealed parts say

    def contents(self, key: DataKey | None) -> None:
        """Each sealed part, opened with the key that the receipt gives away."""
        if key is None:
            self._findings.add("content", "the data key has not 32 bytes")
            return
        for each, row in self._pairs:
            if row.sealed is not None:
                self._check_content(key, each, row)
        for stream_id in self._versions:
            self._check_answer(key, [row for row in self.rows if row.stream_id == stream_id])

    def _check_content(self, key: DataKey, each: ReceiptEvent, row: EventRow) -> None:
        bound = associated_data(row.stream_id, row.event_id, row.name, row.schema)
        try:
            opened = key.open(row.sealed or b"", bound)
        except SealBrokenError:
            self._findings.add("content", "its sealed part does not open under the key of the receipt", row.position)
            return
        if opened != bytes(each.content):
            self._findings.add("content", "its content is not what its sealed part says", row.position)

    def _check_answer(self, key: DataKey, rows: Sequence[EventRow]) -> None:
        """The answer beside its keyed hash: under another key that opens the same bytes, it would be another one."""
        codec = EventCodec(_OneKey(key))
        for row in rows:
            if row.name not in {"MessageCompleted", "MessageStopped"}:
                continue
            try:
                ended, answer = codec.decode(row).body, codec.message(rows, row.version).answer
            except (*_NO_EVENT, LookupError, TypeError, DomainError) as error:
                text = f"its answer cannot be put together, so it has no fingerprint: {type(error).__name__}"
                self._findings.add("content", text, row.position)
                continue
            is_ended = isinstance(ended, MessageCompleted | MessageStopped)
            if not is_ended or key.fingerprint(answer.encode()) != ended.fingerprint:
                self._findings.add("content", "the answer has not the fingerprint on record", row.position)
            else:
                self.is_key_bound = True

    # What comes of it

    def outside(self, kept: Sequence[ClaimedCheckpoint]) -> list[str]:
        """Checkpoints from elsewhere beside those of the receipt; what they do not answer."""
        sizes = {checkpoint.size: checkpoint for checkpoint in self._checkpoints.values() if checkpoint}
        compared = 0
        for each in kept:
            other = Checkpoint.parse(Note.parse(each.note).text)
            if (own := sizes.get(other.size)) is None:
                continue
            compared += 1
            if own.root != other.root:
                text = f"the outside checkpoint of {other.size:,} events is of another tree than the receipt's"
                self._findings.add("tree", text, 1, other.size)
        if kept and not compared:
            return ["the checkpoints from outside: none is of as many events as the receipt's, so none can be compared"]
        return []

    def report(self, place: str, unchecked: list[str]) -> Report:
        """What came of it."""
        newest = max(self._counting, key=lambda each: each.size, default=None)
        subject = self._receipt.subject
        return Report(
            place=f"{place}, a receipt of the {subject.kind} {subject.id}",
            events=len(self.rows),
            signed=newest.size if newest else 0,
            checkpoints=len(self._counting),
            root=newest.root.hex() if newest else None,
            keys=[str(key) for key in self._trust.keys],
            findings=list(self._findings.kept),
            problems=self._findings.count,
            first_bad=self._findings.first_bad,
            unchecked=unchecked,
        )


class _OneKey:
    """Gives one key for everything."""

    def __init__(self, key: DataKey) -> None:
        self._key = key

    def key(self, key_id: UUID) -> DataKey:  # noqa: ARG002 - there is one
        """It."""
        return self._key


def _conversation_of(row: EventRow) -> UUID | None:
    try:
        return msgspec.convert(msgspec.json.decode(row.public)["conversation_id"], UUID)
    except (msgspec.MsgspecError, KeyError, TypeError):
        return None
