"""The tree against what others have published of it, and against the words of the standard."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatledger.application.audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    NodeHash,
    ProofError,
    compact_range,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    perfect_root,
    root,
    verify_consistency,
    verify_inclusion,
)

# The leaves and roots with which Certificate Transparency implementations test themselves; the proofs are those of
# transparency-dev/merkle, proof/verify_test.go.

ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(each)
    for each in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
LEAF_6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
PAIR_1 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
PAIR_2 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
PAIR_3 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
FOUR_0 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
FOUR_1 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
INCLUSIONS = [
    (0, 1, []),
    (0, 8, [LEAF_1, PAIR_1, FOUR_1]),
    (5, 8, [LEAF_4, PAIR_3, FOUR_0]),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (1, 5, ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", PAIR_1, LEAF_4]),
]
CONSISTENCIES = [
    (1, 1, []),
    (1, 8, [LEAF_1, PAIR_1, FOUR_1]),
    (6, 8, [PAIR_2, PAIR_3, FOUR_0]),
    (2, 5, [PAIR_1, LEAF_4]),
    (6, 7, [PAIR_2, LEAF_6, FOUR_0]),
]
SOME_HASH = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES[:size]]
    assert _grown(leaves).root() == ROOTS[size] == root(size, _nodes_of(leaves))


@pytest.mark.parametrize(("index", "size", "expected"), INCLUSIONS)
def test_published_inclusion_proofs(index: int, size: int, expected: list[str]) -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES]
    proof = inclusion_proof(index, size, _nodes_of(leaves))
    assert [each.hex() for each in proof] == expected
    verify_inclusion(index, size, leaves[index], proof, ROOTS[size])


@pytest.mark.parametrize(("old", "new", "expected"), CONSISTENCIES)
def test_published_consistency_proofs(old: int, new: int, expected: list[str]) -> None:
    proof = consistency_proof(old, new, _nodes_of([leaf_hash(entry) for entry in ENTRIES]))
    assert [each.hex() for each in proof] == expected
    verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)


@pytest.mark.parametrize(("index", "size", "expected"), INCLUSIONS)
def test_an_inclusion_proof_that_was_changed_proves_nothing(index: int, size: int, expected: list[str]) -> None:
    leaf, proof, head = leaf_hash(ENTRIES[index]), [bytes.fromhex(each) for each in expected], ROOTS[size]
    flipped = [
        (index, size, leaf, [*proof[:at], bytes([proof[at][0] ^ 8]) + proof[at][1:], *proof[at + 1 :]], head)
        for at in range(len(proof))
    ]
    shorter = [(index, size, leaf, proof[:-1], head)] if proof else []
    for wrong in (
        (index - 1, size, leaf, proof, head),
        (index + 1, size, leaf, proof, head),
        (index ^ 2, size, leaf, proof, head),
        (index, size * 2, leaf, proof, head),
        (index, size // 2, leaf, proof, head),
        (index, size, b"WrongLeaf", proof, head),
        (index, size, leaf, proof, EMPTY_ROOT),
        (index, size, leaf, proof, SOME_HASH),
        (index, size, leaf, [*proof, b""], head),
        (index, size, leaf, [*proof, head], head),
        (index, size, leaf, [b"", *proof], head),
        (index, size, leaf, [head, *proof], head),
        *flipped,
        *shorter,
    ):
        with pytest.raises(ProofError):
            verify_inclusion(*wrong)


@pytest.mark.parametrize(("old", "new", "expected"), CONSISTENCIES[1:])
def test_a_consistency_proof_that_was_changed_proves_nothing(old: int, new: int, expected: list[str]) -> None:
    proof, before, after = [bytes.fromhex(each) for each in expected], ROOTS[old], ROOTS[new]
    flipped = [
        (old, new, before, after, [*proof[:at], bytes([proof[at][0] ^ 16]) + proof[at][1:], *proof[at + 1 :]])
        for at in range(len(proof))
    ]
    for wrong in (
        (old + 1, new, before, after, proof),
        (old ^ 2, new, before, after, proof),
        (old, new * 2, before, after, proof),
        (old, new // 2, before, after, proof),
        (old, new, b"WrongRoot", after, proof),
        (old, new, before, b"WrongRoot", proof),
        (old, new, after, before, proof),
        (old, new, before, after, []),
        (old, new, before, after, [*proof, b""]),
        (old, new, before, after, [*proof, before]),
        (old, new, before, after, [*proof, after]),
        (old, new, before, after, [before, *proof]),
        (old, new, before, after, [after, *proof]),
        (old, new, before, after, [proof[0], *proof]),
        (old, new, before, after, proof[:-1]),
        *flipped,
    ):
        with pytest.raises(ProofError):
            verify_consistency(*wrong)


@pytest.mark.parametrize(
    ("old", "new", "before", "after", "proof"),
    [
        (0, 0, ROOTS[0], ROOTS[1], []),
        (1, 1, ROOTS[1], ROOTS[2], []),
        (1, 0, ROOTS[1], ROOTS[0], []),
        (2, 1, ROOTS[2], ROOTS[1], []),
        (1, 2, ROOTS[1], ROOTS[2], []),
        (0, 1, ROOTS[0], ROOTS[1], [EMPTY_ROOT]),
        (1, 1, ROOTS[1], ROOTS[1], [EMPTY_ROOT]),
    ],
)
def test_sizes_that_no_proof_joins(old: int, new: int, before: bytes, after: bytes, proof: list[bytes]) -> None:
    with pytest.raises(ProofError):
        verify_consistency(old, new, before, after, proof)


def test_nothing_is_proved_of_leaves_and_trees_that_are_not_there() -> None:
    node = _nodes_of([leaf_hash(entry) for entry in ENTRIES])
    with pytest.raises(ValueError, match="has none at 8"):
        inclusion_proof(8, 8, node)
    with pytest.raises(ValueError, match="extends none of 8"):
        consistency_proof(8, 7, node)
    with pytest.raises(ValueError, match="2 full subtrees"):
        CompactRange(3, [SOME_HASH])


@st.composite
def _trees(draw: st.DrawFn) -> tuple[list[bytes], int, int]:
    leaves = [leaf_hash(bytes([at % 256, draw(st.integers(0, 255))])) for at in range(draw(st.integers(1, 70)))]
    new = draw(st.integers(1, len(leaves)))
    return leaves, draw(st.integers(0, new)), new


@given(_trees())
def test_roots_and_proofs_are_those_of_the_standard(tree: tuple[list[bytes], int, int]) -> None:
    leaves, old, new = tree
    node = _nodes_of(leaves)
    assert root(new, node) == _mth(leaves[:new])

    index = min(old, new - 1)
    inclusion = inclusion_proof(index, new, node)
    assert inclusion == _path(index, leaves[:new])
    verify_inclusion(index, new, leaves[index], inclusion, _mth(leaves[:new]))

    consistency = consistency_proof(old, new, node)
    if old:
        assert consistency == _subproof(old, leaves[:new], is_whole=True)
    verify_consistency(old, new, _mth(leaves[:old]), _mth(leaves[:new]), consistency)


@given(_trees())
def test_a_head_goes_on_from_any_size(tree: tuple[list[bytes], int, int]) -> None:
    leaves, old, new = tree
    head = compact_range(old, _nodes_of(leaves))
    assert head.nodes == _grown(leaves[:old]).nodes
    for leaf in leaves[old:new]:
        head.push(leaf)
    assert (head.size, head.root()) == (new, _mth(leaves[:new]))


@given(_trees())
def test_no_proof_joins_a_tree_to_one_whose_past_was_changed(tree: tuple[list[bytes], int, int]) -> None:
    leaves, old, new = tree
    if not 0 < old < new:
        return
    forged = [leaf_hash(b"forged"), *leaves[1:]]
    with pytest.raises(ProofError):
        verify_consistency(
            old, new, _mth(leaves[:old]), _mth(forged[:new]), consistency_proof(old, new, _nodes_of(forged))
        )


# The definitions of RFC 6962, section 2.1, word for word: slow, and plainly right.


def _mth(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    k = _largest_power_below(len(leaves))
    return node_hash(_mth(leaves[:k]), _mth(leaves[k:]))


def _path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = _largest_power_below(len(leaves))
    if m < k:
        return [*_path(m, leaves[:k]), _mth(leaves[k:])]
    return [*_path(m - k, leaves[k:]), _mth(leaves[:k])]


def _subproof(m: int, leaves: Sequence[bytes], *, is_whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if is_whole else [_mth(leaves)]
    k = _largest_power_below(len(leaves))
    if m <= k:
        return [*_subproof(m, leaves[:k], is_whole=is_whole), _mth(leaves[k:])]
    return [*_subproof(m - k, leaves[k:], is_whole=False), _mth(leaves[:k])]


def _largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def _nodes_of(leaves: Sequence[bytes]) -> NodeHash:
    def node(level: int, index: int) -> bytes:
        return perfect_root(leaves[index << level : (index + 1) << level])

    return node


def _grown(leaves: Sequence[bytes]) -> CompactRange:
    head = CompactRange()
    for leaf in leaves:
        head.push(leaf)
    return head
