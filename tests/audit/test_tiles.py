"""The tree in tiles gives the hashes of the tree without, and reads little for it."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatledger.application.audit.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    perfect_root,
    root,
    verify_consistency,
    verify_inclusion,
)
from chatledger.application.audit.proving import remembering
from chatledger.application.audit.tiles import MissingLeafError, TiledTree


class Rows:
    """Rows in memory, which count what is read of them."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.stored = leaves
        self.kept: dict[tuple[int, int], bytes] = {}
        self.read = 0

    def size(self) -> int:
        return len(self.stored)

    def leaves(self, first: int, count: int) -> Sequence[bytes]:
        self.read += count
        return self.stored[first : first + count]

    def tiles(self, level: int, first: int, count: int) -> Mapping[int, bytes]:
        found = {
            number: self.kept[level, number] for number in range(first, first + count) if (level, number) in self.kept
        }
        self.read += len(found)
        return found

    def next_tile(self, level: int) -> int:
        return 1 + max((number for at, number in self.kept if at == level), default=-1)

    def keep_tiles(self, size: int, at_once: int = 64) -> None:
        while tiles := TiledTree(self).missing(size, at_once):
            self.kept |= {(tile.level, tile.number): tile.root for tile in tiles}


LEAVES = [leaf_hash(at.to_bytes(4)) for at in range(256 * 5 + 17)]
ALL_TILES = Rows(LEAVES)
ALL_TILES.keep_tiles(len(LEAVES))


def _node(level: int, index: int) -> bytes:
    return perfect_root(LEAVES[index << level : (index + 1) << level])


@given(st.integers(1, len(LEAVES)), st.data())
def test_proofs_are_those_of_the_leaves_whatever_tiles_are_kept(size: int, data: st.DataObject) -> None:
    rows = Rows(LEAVES)
    rows.kept = {place: each for place, each in ALL_TILES.kept.items() if data.draw(st.booleans(), str(place))}
    tree = TiledTree(rows, trusts_tiles=data.draw(st.booleans(), "trusts tiles"))
    index, old = data.draw(st.integers(0, size - 1), "index"), data.draw(st.integers(1, size), "old")

    assert root(size, tree.node) == root(size, _node)
    assert inclusion_proof(index, size, tree.node) == inclusion_proof(index, size, _node)
    assert consistency_proof(old, size, tree.node) == consistency_proof(old, size, _node)


def test_tiles_are_kept_for_what_is_full_and_no_more() -> None:
    assert sorted(ALL_TILES.kept) == [(1, number) for number in range(5)]
    assert TiledTree(ALL_TILES).missing(len(LEAVES), 64) == []


def test_tiles_are_kept_over_full_tiles() -> None:
    rows = Rows([leaf_hash(b"")] * 65_537)
    rows.keep_tiles(65_537, at_once=100)
    assert sorted(rows.kept) == [*((1, number) for number in range(256)), (2, 0)]
    assert rows.kept[2, 0] == OneLeaf(0).levels[16]


class OneLeaf(Rows):
    """A ledger of a million events that all have one leaf, so that each level has one hash."""

    def __init__(self, size: int) -> None:
        super().__init__([])
        self.length = size
        self.levels = [leaf_hash(b"")]
        while len(self.levels) < 25:
            self.levels.append(node_hash(self.levels[-1], self.levels[-1]))

    def leaves(self, first: int, count: int) -> Sequence[bytes]:
        self.read += count
        return [self.levels[0]] * count

    def tiles(self, level: int, first: int, count: int) -> Mapping[int, bytes]:
        self.read += count
        return dict.fromkeys(range(first, first + count), self.levels[level * 8])


@pytest.mark.parametrize("index", [0, 1, 255, 256, 65_535, 65_536, 524_288, 999_935, 999_998])
def test_a_proof_among_a_million_events_reads_some_hundred_rows(index: int) -> None:
    size, rows = 999_999, OneLeaf(999_999)
    tree = TiledTree(rows)
    proof = inclusion_proof(index, size, tree.node)
    assert rows.read <= 1_000
    verify_inclusion(index, size, rows.levels[0], proof, root(size, tree.node))

    rows.read = 0
    proof = consistency_proof(index + 1, size, tree.node)
    assert rows.read <= 1_000
    verify_consistency(index + 1, size, root(index + 1, tree.node), root(size, tree.node), proof)


def test_a_hole_is_named() -> None:
    rows = Rows(LEAVES[:700])
    with pytest.raises(MissingLeafError, match="between the positions 513 and 768") as raised:
        root(1024, TiledTree(rows).node)
    assert (raised.value.first, raised.value.last) == (513, 768)


def test_proofs_side_by_side_make_the_nodes_of_one_tile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(hashes: Sequence[bytes]) -> bytes:
        made.append(len(hashes))
        return perfect_root(hashes)

    monkeypatch.setattr("chatledger.application.audit.tiles.perfect_root", counted)
    node, size = remembering(ALL_TILES), len(LEAVES)
    for index in range(256, 512):
        verify_inclusion(index, size, node(0, index), inclusion_proof(index, size, node), root(size, _node))
    assert len(made) < 2 * 256 + 50, "each node of the tile once, and the few above"
