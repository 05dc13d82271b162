"""What another implementation of C2SP's transparency logs makes of our trees, checkpoints and proofs.

It is ``tlog-scales``, as published: it reads a log's tiles from a folder, computes roots and proofs of its own, checks
signatures, and writes tlog-proofs. The log here is that of a ledger's events; its entries are their canonical forms.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import given, settings
from hypothesis import strategies as st
from tlog_scales import cli
from tlog_scales.backend import make_backend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import PlainEd25519Signer, Vkey
from tlog_scales.tiles import tile_path
from tlog_scales.tlog import Checkpoint as OtherCheckpoint
from tlog_scales.tlog import ConsistencyProof, InclusionProof, InclusionProofInvalid

from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.application.audit.merkle import (
    CompactRange,
    consistency_proof,
    inclusion_proof,
    perfect_root,
    verify_consistency,
    verify_inclusion,
)
from chatledger.application.audit.notes import Checkpoint, Note, VerifierKey
from chatledger.application.audit.tlog_proof import TlogProof
from chatledger.application.ledger.leaf import canonical_form
from tests.audit.ledgers import ORIGIN, Signer, made_rows

EVENTS = 700
WIDTH = 256

NOTARY = Signer()
ROWS = list(made_rows(EVENTS, NOTARY))
LEAVES = [row.leaf for row in ROWS]
SIZES = st.integers(1, EVENTS)


def node(level: int, index: int) -> bytes:
    return perfect_root(LEAVES[index << level : (index + 1) << level])


def root(size: int) -> bytes:
    tree = CompactRange()
    tree.extend(LEAVES[:size])
    return tree.root()


CHECKPOINT = NOTARY.checkpoint(EVENTS, root(EVENTS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger's log as C2SP's tlog-tiles lays it out."""
    folder = tmp_path_factory.mktemp("log")
    entries = [len(form).to_bytes(2, "big") + form for form in map(canonical_form, ROWS)]
    write_level(folder, -1, entries)
    row, level = LEAVES, 0
    while row:
        write_level(folder, level, row)
        full = range(0, len(row) // WIDTH * WIDTH, WIDTH)
        row, level = [perfect_root(row[start : start + WIDTH]) for start in full], level + 1
    (folder / "checkpoint").write_bytes(CHECKPOINT)
    return folder


def write_level(folder: Path, level: int, hashes: Sequence[bytes]) -> None:
    for number, start in enumerate(range(0, len(hashes), WIDTH)):
        tile = hashes[start : start + WIDTH]
        path = folder.joinpath(*tile_path(level, number, len(tile) % WIDTH))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(tile))


@pytest.fixture(scope="module")
def reader(folder: Path) -> TilesReader:
    reader = TilesReader(make_backend(str(folder)))
    reader.set_size(EVENTS)
    return reader


def test_it_reads_our_checkpoint_and_finds_its_signature_good(reader: TilesReader) -> None:
    read = reader.get_checkpoint()
    assert (read.origin, read.size, read.root_hash) == (ORIGIN, EVENTS, root(EVENTS))
    read.verify(Vkey.from_string(str(NOTARY.key)))
    assert read.serialize().encode() == CHECKPOINT
    with pytest.raises(InvalidSignature):
        OtherCheckpoint(ORIGIN, EVENTS + 1, read.root_hash, read.signatures).verify(Vkey.from_string(str(NOTARY.key)))


def test_we_read_its_checkpoint_and_find_its_signature_good() -> None:
    signer = PlainEd25519Signer("example.com/other", bytes(range(32)))
    note = Note.parse(OtherCheckpoint.make_signed("example.com/other", 3, root(3), [signer]).serialize().encode())
    key = VerifierKey.parse(signer.vkey.serialize())
    assert note.verified([key], is_signed_by) == [key]
    assert Checkpoint.parse(note.text) == Checkpoint("example.com/other", 3, root(3))


@settings(deadline=None)
@given(size=SIZES)
def test_roots_are_the_same(reader: TilesReader, size: int) -> None:
    assert reader.mth(0, size) == root(size)


@settings(deadline=None)
@given(size=SIZES, data=st.data())
def test_inclusion_proofs_are_the_same_and_each_accepts_the_others(
    reader: TilesReader, size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    theirs = reader.get_inclusion_proof(index, size).node_hashes
    ours = inclusion_proof(index, size, node)
    assert theirs == ours
    verify_inclusion(index, size, LEAVES[index], theirs, root(size))
    InclusionProof(index, size, ours).check(LEAVES[index], root(size))


def test_it_refuses_our_proof_of_another_event() -> None:
    proof = InclusionProof(300, EVENTS, inclusion_proof(300, EVENTS, node))
    with pytest.raises(InclusionProofInvalid):
        proof.check(LEAVES[301], root(EVENTS))


@settings(deadline=None)
@given(new=SIZES, data=st.data())
def test_consistency_proofs_are_the_same_and_each_accepts_the_others(
    reader: TilesReader, new: int, data: st.DataObject
) -> None:
    old = data.draw(st.integers(1, new))
    theirs = reader.get_consistency_proof(old, new).node_hashes
    ours = consistency_proof(old, new, node)
    assert theirs == ours
    verify_consistency(old, new, root(old), root(new), theirs)
    ConsistencyProof(old, new, ours).check(root(old), root(new))


@pytest.mark.parametrize("index", [0, 255, 256, 511, EVENTS - 1])
def test_it_writes_the_proof_that_we_write(index: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.cmd_gen_proof(cli.build_parser().parse_args(["gen-proof", str(folder), str(index)]))
    written = capsys.readouterr().out.encode()
    proof = TlogProof(index, tuple(inclusion_proof(index, EVENTS, node)), CHECKPOINT)
    assert written == bytes(proof)
    assert TlogProof.parse(written) == proof


def test_the_canonical_form_of_a_row_is_the_entry_that_its_leaf_proves(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    cli.cmd_get_leaf(cli.build_parser().parse_args(["get-leaf", "--check", str(folder), "300"]))
    assert capfdbinary.readouterr().out == canonical_form(ROWS[300])
