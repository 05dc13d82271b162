"""A receipt proves its events without the ledger; whoever changes it is found out."""

from collections.abc import Callable
from uuid import UUID

import msgspec
import pytest

from chatledger.adapters.keys.cipher import AesDataKey
from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.application.audit.merkle import CompactRange, inclusion_proof, perfect_root
from chatledger.application.audit.notes import Checkpoint, Note, VerifierKey
from chatledger.application.audit.receipt import NOTHING, Receipt, ReceiptEvent, Subject, read_receipt, receipt_event
from chatledger.application.audit.receipt_check import BadReceiptError, verify_receipt
from chatledger.application.audit.tlog_proof import TlogProof
from chatledger.application.audit.trust import Trust
from chatledger.application.audit.verification import Report
from chatledger.application.ledger.codec import EventCodec, associated_data
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.audit import ClaimedCheckpoint
from chatledger.application.ports.storage import EventRow
from chatledger.domain.events import Event
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from tests.audit.ledgers import Signer, made_rows
from tests.persistence.stores import a_question

NOTARY, STRANGER = Signer(1), Signer(2)
SECRET = bytes(range(32))
BEFORE, AFTER = 300, 50
MESSAGE_ID, CONVERSATION_ID, KEY_ID = UUID(int=1), UUID(int=2), UUID(int=3)
SOURCE = UUID(int=9).urn


class OneKey:
    def key(self, _: UUID) -> AesDataKey:
        return AesDataKey(SECRET)


def answered() -> list[Event]:
    """The events of a message with its answer."""
    message = Message.create(MESSAGE_ID, a_question(conversation_id=CONVERSATION_ID))
    message.start_attempt("worker")
    message.append_chunk(1, "An append-only ")
    message.append_chunk(1, "book.")
    message.complete(1, Usage(), "stop", AesDataKey(SECRET).fingerprint(b"An append-only book."))
    return [recorded.body for recorded in message.collect_events()]


def rows_of(bodies: list[Event]) -> list[EventRow]:
    codec, rows = EventCodec(OneKey()), []
    for version, body in enumerate(bodies, 1):
        event_id = UUID(int=1_000 + version)
        encoded = codec.encode(body, MESSAGE_ID, event_id, KEY_ID)
        row = EventRow(
            position=BEFORE + version,
            stream_id=MESSAGE_ID,
            category="message",
            version=version,
            event_id=event_id,
            name=encoded.name,
            schema=encoded.schema,
            recorded_at=1_700_000_000_000_000,
            public=encoded.public,
            sealed=encoded.sealed,
            key_id=KEY_ID,
            algorithm="aes-256-gcm" if encoded.sealed else "none",
            context_position=BEFORE + 1,
            context=b"{}" if version == 1 else None,
        )
        rows.append(msgspec.structs.replace(row, leaf=leaf_hash(row)))
    return rows


def receipt_of(rows: list[EventRow], signer: Signer = NOTARY, *, data_key: bytes | None = None) -> Receipt:
    """What a server would give out: the rows among others of its ledger."""
    others = list(made_rows(BEFORE + AFTER, signer))
    leaves = [row.leaf for row in others[:BEFORE]] + [row.leaf for row in rows] + [row.leaf for row in others[BEFORE:]]
    tree = CompactRange()
    tree.extend(leaves)
    note = signer.checkpoint(len(leaves), tree.root())

    def node(level: int, index: int) -> bytes:
        return perfect_root(leaves[index << level : (index + 1) << level])

    def event(index: int, row: EventRow) -> ReceiptEvent:
        proof = TlogProof(index, tuple(inclusion_proof(index, len(leaves), node)), note)
        if row.sealed is None:
            return receipt_event(row, SOURCE, proof)
        opened = AesDataKey(SECRET).open(row.sealed, bound(row))
        return receipt_event(row, SOURCE, proof, msgspec.Raw(opened))

    return Receipt(
        subject=Subject("message", MESSAGE_ID),
        verifier_keys=(str(signer.key),),
        events=tuple(event(index, row) for index, row in enumerate(rows, BEFORE)),
        data_key=data_key,
    )


def bound(row: EventRow) -> bytes:
    return associated_data(row.stream_id, row.event_id, row.name, row.schema)


def verified(receipt: Receipt | bytes, *keys: VerifierKey, since: list[bytes] | None = None) -> Report:
    outside = [
        ClaimedCheckpoint(number, None, None, note, keeper="outside") for number, note in enumerate(since or [], 1)
    ]
    return verify_receipt(bytes(receipt), "file", Trust(keys, is_signed_by), outside, AesDataKey)


@pytest.fixture(scope="module")
def rows() -> list[EventRow]:
    return rows_of(answered())


@pytest.fixture(scope="module")
def receipt(rows: list[EventRow]) -> Receipt:
    return receipt_of(rows)


def test_a_receipt_comes_back_as_it_was_written(receipt: Receipt) -> None:
    assert bytes(receipt).startswith(b'{"receipt":"chatledger-receipt@v1"')
    assert bytes(read_receipt(bytes(receipt))) == bytes(receipt)


def test_a_receipt_is_proved_and_says_who_vouches_for_its_contents(receipt: Receipt) -> None:
    report = verified(receipt, NOTARY.key)
    assert (report.problems, report.events, report.signed) == (0, 5, BEFORE + AFTER + 5), report.findings
    assert any("the contents are what the sealed parts say" in said for said in report.unchecked)


def test_with_the_data_key_the_contents_are_proved_too(rows: list[EventRow]) -> None:
    report = verified(receipt_of(rows, data_key=SECRET), NOTARY.key)
    assert report.is_intact, report.findings
    assert not any("contents" in said for said in report.unchecked)


def test_an_erased_message_is_proved_by_what_is_left(receipt: Receipt) -> None:
    tombstones = tuple(
        msgspec.structs.replace(each, content=NOTHING, is_erased=bool(bytes(each.content))) for each in receipt.events
    )
    report = verified(msgspec.structs.replace(receipt, events=tombstones), NOTARY.key)
    assert (report.problems, report.events) == (0, 5)


def changed(receipt: Receipt, place: int, **fields: object) -> Receipt:
    events = list(receipt.events)
    events[place] = msgspec.structs.replace(events[place], **fields)
    return msgspec.structs.replace(receipt, events=tuple(events))


def with_row(receipt: Receipt, rows: list[EventRow], place: int, **fields: object) -> Receipt:
    row = msgspec.structs.replace(rows[place], **fields)
    line = receipt_event(row, SOURCE, TlogProof.parse(receipt.events[place].proof.encode())).event
    return changed(receipt, place, event=line)


def of_another_log(proof: str) -> str:
    parsed = TlogProof.parse(proof.encode())
    signed = Checkpoint.parse(Note.parse(parsed.checkpoint).text)
    other = NOTARY.checkpoint(signed.size, signed.root, "example.com/other")
    return bytes(msgspec.structs.replace(parsed, checkpoint=other)).decode()


TAMPERING: dict[str, tuple[Callable[[Receipt, list[EventRow]], Receipt], str]] = {
    "a changed row": (lambda receipt, rows: with_row(receipt, rows, 2, public=b'{"attempt":2}'), "changed"),
    "a changed row with a leaf of its own": (
        lambda receipt, rows: with_row(
            receipt,
            rows,
            2,
            public=b'{"attempt":2}',
            leaf=leaf_hash(msgspec.structs.replace(rows[2], public=b'{"attempt":2}')),
        ),
        "tree",
    ),
    "another event's proof": (lambda receipt, _: changed(receipt, 2, proof=receipt.events[3].proof), "tree"),
    "no proof": (lambda receipt, _: changed(receipt, 2, proof="none"), "tree"),
    "another time in words": (
        lambda receipt, _: changed(
            receipt, 2, event=msgspec.Raw(bytes(receipt.events[2].event).replace(b"2023-11-14", b"2024-11-14"))
        ),
        "malformed",
    ),
    "no event": (lambda receipt, _: changed(receipt, 2, event=msgspec.Raw(b"{}")), "malformed"),
    "an event left out": (
        lambda receipt, _: msgspec.structs.replace(receipt, events=(*receipt.events[:2], *receipt.events[3:])),
        "version",
    ),
    "events in another order": (
        lambda receipt, _: msgspec.structs.replace(receipt, events=receipt.events[::-1]),
        "order",
    ),
    "no events": (lambda receipt, _: msgspec.structs.replace(receipt, events=()), "missing"),
    "a content of what has no sealed part": (
        lambda receipt, _: changed(receipt, 1, content=msgspec.Raw(b'{"text":"a lie"}')),
        "content",
    ),
    "a content of what is erased": (lambda receipt, _: changed(receipt, 2, is_erased=True), "content"),
    "an unsealed event that is erased": (lambda receipt, _: changed(receipt, 1, is_erased=True), "content"),
    "another ledger's name on one event": (
        lambda receipt, rows: changed(
            receipt,
            2,
            event=receipt_event(rows[2], UUID(int=8).urn, TlogProof.parse(receipt.events[2].proof.encode())).event,
        ),
        "checkpoint",
    ),
    "a checkpoint of another log": (
        lambda receipt, _: changed(receipt, 2, proof=of_another_log(receipt.events[2].proof)),
        "checkpoint",
    ),
    "a field twice": (
        lambda receipt, _: changed(
            receipt, 2, event=msgspec.Raw(b'{"type":"chatledger.Lie",' + bytes(receipt.events[2].event)[1:])
        ),
        "malformed",
    ),
    "another message": (
        lambda receipt, _: msgspec.structs.replace(receipt, subject=Subject("message", UUID(int=77))),
        "stream",
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_whoever_changes_a_receipt_is_found_out(name: str, receipt: Receipt, rows: list[EventRow]) -> None:
    tamper, kind = TAMPERING[name]
    report = verified(tamper(receipt, rows), NOTARY.key)
    assert kind in {finding.kind for finding in report.findings}, report.findings


def test_a_row_that_stands_elsewhere_than_it_says_is_found_out(rows: list[EventRow]) -> None:
    """Whoever has the database may have it signed so; the tree then has its leaf in another place."""
    moved = msgspec.structs.replace(rows[-1], position=rows[-1].position + 7)
    report = verified(receipt_of([*rows[:-1], msgspec.structs.replace(moved, leaf=leaf_hash(moved))]), NOTARY.key)
    assert [(finding.kind, finding.first) for finding in report.findings] == [("tree", moved.position)]


def test_a_receipt_under_a_strangers_key_is_found_out(rows: list[EventRow]) -> None:
    forged = receipt_of(rows, STRANGER)
    assert any("taken from the receipt itself" in said for said in verified(forged).unchecked)
    report = verified(forged, NOTARY.key)
    assert {finding.kind for finding in report.findings} == {"unsigned"}
    assert (report.checkpoints, report.signed, report.root) == (0, 0, None)
    honest = receipt_of(rows)
    assert not verified(forged, since=[TlogProof.parse(honest.events[0].proof.encode()).checkpoint]).is_intact


def test_contents_that_are_not_what_was_sealed_show_under_the_data_key(rows: list[EventRow]) -> None:
    receipt = receipt_of(rows, data_key=SECRET)
    report = verified(changed(receipt, 2, content=msgspec.Raw(b'{"text":"An append-only lie"}')), NOTARY.key)
    assert [(finding.kind, finding.first) for finding in report.findings] == [("content", BEFORE + 3)]


def test_another_key_that_opened_the_same_bytes_would_have_another_fingerprint(rows: list[EventRow]) -> None:
    """AES-GCM binds nobody to one key: the answer's keyed hash, which the leaf holds, does."""
    *_, ended = rows
    public = ended.public.replace(AesDataKey(SECRET).fingerprint(b"An append-only book.").encode(), b"0" * 64)
    assert public != ended.public
    forged = msgspec.structs.replace(ended, public=public)
    receipt = receipt_of([*rows[:-1], msgspec.structs.replace(forged, leaf=leaf_hash(forged))], data_key=SECRET)
    report = verified(receipt, NOTARY.key)
    assert [(finding.kind, finding.first) for finding in report.findings] == [("content", BEFORE + 5)]


@pytest.mark.parametrize(
    "forged",
    [
        {"content": msgspec.Raw(b'{"text":"a lie"}'), "is_erased": True},
        {"content": NOTHING, "is_erased": True},
        {"content": msgspec.Raw(b'{"text":"a lie","text":"An append-only "}')},
    ],
)
def test_under_the_data_key_nothing_is_passed_over(rows: list[EventRow], forged: dict[str, object]) -> None:
    report = verified(changed(receipt_of(rows, data_key=SECRET), 2, **forged), NOTARY.key)
    assert {(finding.kind, finding.first) for finding in report.findings} == {("content", BEFORE + 3)}


def test_an_answer_that_cannot_be_put_together_is_told(rows: list[EventRow]) -> None:
    """Signed so, by whoever has the notary's key: nothing but the answer's fingerprint binds the data key."""
    forged = msgspec.structs.replace(rows[-1], public=rows[-1].public.replace(b'"usage"', b'"wages"'))
    assert forged != rows[-1]
    receipt = receipt_of([*rows[:-1], msgspec.structs.replace(forged, leaf=leaf_hash(forged))], data_key=SECRET)
    report = verified(receipt, NOTARY.key)
    assert [(finding.kind, finding.first) for finding in report.findings] == [("content", BEFORE + 5)]


def test_without_an_answers_end_it_is_said_that_nothing_binds_the_data_key(rows: list[EventRow]) -> None:
    unbound = "that the data key is the one that sealed all this"
    for some, is_bound in ((rows, True), (rows[:-1], False)):
        report = verified(receipt_of(some, data_key=SECRET), NOTARY.key)
        assert report.is_intact, report.findings
        assert any(unbound in said for said in report.unchecked) is not is_bound


def test_a_conversations_receipt_has_the_conversation_in_it(receipt: Receipt) -> None:
    of_conversation = msgspec.structs.replace(receipt, subject=Subject("conversation", CONVERSATION_ID))
    report = verified(of_conversation, NOTARY.key)
    assert [finding.text for finding in report.findings] == ["no event of the conversation itself is in it"]
    assert any("whole ones could have been left out" in said for said in report.unchecked)


@pytest.mark.parametrize("key", [b"short", bytes(32)])
def test_a_data_key_that_opens_nothing(key: bytes, rows: list[EventRow]) -> None:
    report = verified(receipt_of(rows, data_key=key), NOTARY.key)
    assert {finding.kind for finding in report.findings} == {"content"}


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"receipt":"chatledger-receipt@v1"}', b"[" * 100_000])
def test_what_is_no_receipt(raw: bytes) -> None:
    with pytest.raises(BadReceiptError):
        verified(raw)


def test_what_a_receipt_has_no_field_for_is_refused(receipt: Receipt) -> None:
    with pytest.raises(BadReceiptError, match="summary"):
        verified(bytes(receipt).replace(b'"subject":', b'"summary":"a lie","subject":', 1))
