"""Signed notes and checkpoints, with the keys and notes that golang.org/x/mod/sumdb/note tests itself with."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.application.audit.notes import (
    Checkpoint,
    Note,
    NoteError,
    UnverifiedNoteError,
    VerifierKey,
    sign_note,
)
from chatledger.application.audit.strict_base64 import decode_base64
from chatledger.application.audit.tlog_proof import TlogProof

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)


class _Signer:
    def __init__(self, key: str, seed: bytes) -> None:
        self.key = VerifierKey.parse(key)
        self._private = Ed25519PrivateKey.from_private_bytes(seed)

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


def test_a_key_is_written_as_it_was_read() -> None:
    assert str(VerifierKey.parse(PETER)) == PETER
    assert VerifierKey.parse(PETER).key_id.hex() == "c74f20a3"


def test_a_key_that_was_cut_or_changed_is_none() -> None:
    pieces = [PETER[begin:end] for begin in range(len(PETER)) for end in range(begin, len(PETER) + 1)]
    changed = [PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :] for at in range(len(PETER))]
    wrong_length = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=="
    unknown_type = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    for wrong in {*pieces, *changed, wrong_length, unknown_type} - {PETER}:
        with pytest.raises(NoteError):
            VerifierKey.parse(wrong)


def test_a_note_is_signed_as_others_sign_it() -> None:
    signer = _Signer(PETER, decode_base64(PETER_SEED)[1:])
    assert bytes(sign_note(TEXT, [signer])).decode() == f"{TEXT}\n{PETER_LINE}"


@pytest.mark.parametrize("text", ["abc", "", "a\tb\n"])
def test_a_text_that_is_no_note_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        sign_note(text, [_Signer(PETER, decode_base64(PETER_SEED)[1:])])


@pytest.mark.parametrize(
    ("lines", "trusted", "signers"),
    [
        (PETER_LINE + ENOCH_LINE, [PETER], [PETER]),
        (PETER_LINE + ENOCH_LINE, [PETER, ENOCH], [PETER, ENOCH]),
        (PETER_LINE, [ENOCH, PETER], [PETER]),
        (PETER_LINE + PETER_LINE + ENOCH_LINE + ENOCH_LINE[:60] + "ABCD" + ENOCH_LINE[60:], [PETER], [PETER]),
    ],
)
def test_who_has_signed(lines: str, trusted: list[str], signers: list[str]) -> None:
    note = Note.parse(f"{TEXT}\n{lines}".encode())
    assert note.text == TEXT
    assert bytes(note).decode() == f"{TEXT}\n{lines}"
    found = note.verified([VerifierKey.parse(key) for key in trusted], is_signed_by)
    assert [str(key) for key in found] == signers


@pytest.mark.parametrize(
    ("lines", "trusted"),
    [
        (PETER_LINE, []),
        (PETER_LINE, [ENOCH]),
        (PETER_LINE[:60] + "ABCD" + PETER_LINE[60:], [PETER]),
        (PETER_LINE.replace("x08go/Z", "x08go/a"), [PETER]),
        (PETER_LINE.replace("PeterNeumann", "CarmenSandiego"), [PETER]),
        (PETER_LINE.replace("x08g", "xxxx"), [PETER]),
        (PETER_LINE + PETER_LINE.replace("x08go/Z", "x08go/a"), [PETER]),
    ],
)
def test_a_note_that_nobody_trusted_has_signed(lines: str, trusted: list[str]) -> None:
    note = Note.parse(f"{TEXT}\n{lines}".encode())
    with pytest.raises(UnverifiedNoteError):
        note.verified([VerifierKey.parse(key) for key in trusted], is_signed_by)


@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode(),
        f"{TEXT}\n".encode(),
        f"{TEXT}\n{PETER_LINE[:-1]}".encode(),
        f"\x01{TEXT}\n{PETER_LINE}".encode(),
        b"\xff" + f"{TEXT}\n{PETER_LINE}".encode(),
        f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Bad Name')}".encode(),
        f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'a+b')}".encode(),
        f"{TEXT}\n{PETER_LINE}Unexpected line.\n".encode(),
        f"{TEXT}\n— PeterNeumann x08goA\n".encode(),
        f"{TEXT}\n— PeterNeumann x08gow==\n".encode(),
        f"{TEXT}\n{PETER_LINE * 101}".encode(),
        b"a" * 1_000_000 + f"\n\n{PETER_LINE}".encode(),
    ],
)
def test_bytes_that_are_no_note(raw: bytes) -> None:
    with pytest.raises(NoteError):
        Note.parse(raw)


def test_the_last_empty_line_ends_the_text() -> None:
    note = Note.parse(f"{TEXT}\nmore\n\n{PETER_LINE}".encode())
    assert note.text == f"{TEXT}\nmore\n"


CHECKPOINT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_a_published_checkpoint_is_read_and_written() -> None:
    checkpoint = Checkpoint.parse(CHECKPOINT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert str(checkpoint) == CHECKPOINT
    assert Checkpoint.parse(f"{CHECKPOINT}an extension\n") == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        CHECKPOINT[:-1],
        CHECKPOINT.replace("20852163", "020852163"),
        CHECKPOINT.replace("20852163", "-1"),
        CHECKPOINT.replace("20852163", "٣"),
        CHECKPOINT.replace("20852163\n", ""),
        CHECKPOINT.replace("example.com/behind-the-sofa", ""),
        CHECKPOINT.replace("q2I=", "q2J="),
        CHECKPOINT.replace("CsUY", ""),
        f"{CHECKPOINT}\nafter an empty line\n",
    ],
)
def test_a_text_that_is_no_checkpoint(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


@given(st.integers(0, 10**18), st.lists(st.binary(min_size=32, max_size=32), max_size=64), st.none() | st.binary())
def test_a_proof_is_read_as_it_was_written(index: int, hashes: list[bytes], extra: bytes | None) -> None:
    proof = TlogProof(index, tuple(hashes), f"{CHECKPOINT}\n{PETER_LINE}".encode(), extra)
    assert TlogProof.parse(bytes(proof)) == proof


@pytest.mark.parametrize(
    "raw",
    [
        "wrong-header\nindex 0\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nextra !!notbase64!!\nindex 0\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\n\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex notanumber\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex -5\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 05\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n!!notbase64!!\n\ncheckpoint\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{'A' * 88}\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{('A' * 43 + '=' + chr(10)) * 65}\ncheckpoint\n",
    ],
)
def test_a_text_that_is_no_proof(raw: str) -> None:
    with pytest.raises(NoteError):
        TlogProof.parse(raw.encode())
