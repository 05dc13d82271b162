"""A receipt: the events of a message or a conversation in one file, each with the proof that a signed ledger has it."""

from typing import Literal
from uuid import UUID

import msgspec

from chatledger.application.audit.export_lines import event_line
from chatledger.application.audit.tlog_proof import TlogProof
from chatledger.application.ports.storage import EventRow

NOTHING = msgspec.Raw()

SubjectKind = Literal["message", "conversation", "end_user"]
"""A receipt of a person is that of their erasing: what they wrote is in none."""


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a receipt is of."""

    kind: SubjectKind
    id: UUID


class ReceiptEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One event.

    Attributes:
        event: its row, as the line of an export (CloudEvents); what its leaf binds is there byte for byte.
        proof: that its leaf is in the tree of a signed checkpoint, as C2SP's tlog-proof.
        content: what its sealed part says to whom the receipt was made for; absent where there is none.
        is_erased: whether the key of its sealed part was destroyed.
    """

    event: msgspec.Raw
    proof: str
    content: msgspec.Raw = NOTHING
    is_erased: bool = False


class Receipt(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="receipt",
    tag="chatledger-receipt@v1",
):
    """The file.

    Attributes:
        verifier_keys: what its checkpoint is checked with, in the form of C2SP's signed-note.
        data_key: what opens the sealed parts, where whoever made the receipt has given it away; in base64.
    """

    subject: Subject
    verifier_keys: tuple[str, ...]
    events: tuple[ReceiptEvent, ...]
    data_key: bytes | None = None

    def __bytes__(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"


_decode = msgspec.json.Decoder(Receipt).decode


def receipt_event(
    row: EventRow, source: str, proof: TlogProof, content: msgspec.Raw = NOTHING, *, is_erased: bool = False
) -> ReceiptEvent:
    """The event of a row.

    Raises:
        UnexportableError: the row cannot be written as a line.
    """
    line = event_line(row, source).removesuffix(b"\n")
    return ReceiptEvent(event=msgspec.Raw(line), proof=bytes(proof).decode(), content=content, is_erased=is_erased)


def read_receipt(raw: bytes) -> Receipt:
    """The receipt in a file.

    Raises:
        msgspec.DecodeError: it is none.
        RecursionError: it is none, and nests too deeply to tell.
    """
    return _decode(raw)
