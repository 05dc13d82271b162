"""The Merkle tree of RFC 6962, section 2.1: its hashes, its head as leaves come in, and its proofs.

A full subtree, of ``2**level`` leaves, is a *node* and named by ``(level, index)``: it covers the leaves from
``index * 2**level`` on. Proofs are made from nodes alone, so whoever keeps some of the upper ones need not read every
leaf.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

HASH_BYTES = 32

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

TILE_HEIGHT = 8
"""Levels of the tree in one tile, as in C2SP's tlog-tiles."""

Made = Callable[[int, int, Sequence[bytes]], None]
"""Told of nodes that are full now: their level, the index of the first one, and their hashes."""

NodeHash = Callable[[int, int], bytes]
"""The hash of the node at a level and an index."""


class ProofError(ValueError):
    """A proof does not prove what it is said to prove."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf that holds ``entry``."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The hash above ``2**k`` nodes of one level, side by side."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


class CompactRange:
    """The head of a tree that grows leaf by leaf: the roots of its full subtrees, one for each 1 in its size.

    Args:
        size: how many leaves it begins with.
        nodes: the roots of the full subtrees of that many leaves, the largest first.
    """

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self.size = size
        self._nodes = list(nodes)
        if len(self._nodes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} full subtrees, not {len(self._nodes)}")

    @property
    def nodes(self) -> tuple[bytes, ...]:
        """The roots of the full subtrees, the largest first."""
        return tuple(self._nodes)

    def push(self, leaf: bytes) -> None:
        """One leaf more, by its hash."""
        node, covered = leaf, self.size
        while covered & 1:
            node = node_hash(self._nodes.pop(), node)
            covered >>= 1
        self._nodes.append(node)
        self.size += 1

    def extend(self, leaves: Iterable[bytes], made: Made | None = None) -> None:
        """Many leaves more, by their hashes; level by level, which is quicker than one by one.

        Args:
            leaves: their hashes.
            made: told of the full nodes that come of it at each level that tiles have.
        """
        row, covered, level, alone, sha256 = list(leaves), self.size, 0, list[bytes](), hashlib.sha256
        self.size += len(row)
        while row:
            if covered & 1:
                row.insert(0, self._nodes.pop())
            if len(row) & 1:
                alone.append(row.pop())
            row = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=True)]
            covered, level = covered >> 1, level + 1
            if made is not None and row and level % TILE_HEIGHT == 0:
                made(level, covered, row)
        self._nodes += reversed(alone)

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        return fold(self._nodes) if self._nodes else EMPTY_ROOT


def root(size: int, node: NodeHash) -> bytes:
    """The root of the tree of the first ``size`` leaves."""
    return _span_hash(range(size), node) if size else EMPTY_ROOT


def compact_range(size: int, node: NodeHash) -> CompactRange:
    """The head of the tree of the first ``size`` leaves."""
    return CompactRange(size, [node(*place) for place in _full_nodes(range(size))])


def inclusion_proof(index: int, size: int, node: NodeHash) -> list[bytes]:
    """That the leaf at ``index`` is in the tree of the first ``size`` leaves: ``PATH`` of section 2.1.1.

    Raises:
        ValueError: there is no such leaf in that tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has none at {index}")
    begin, end = 0, size
    path: list[range] = []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(range(middle, end))
            end = middle
        else:
            path.append(range(begin, middle))
            begin = middle
    return [_span_hash(span, node) for span in reversed(path)]


def consistency_proof(old: int, new: int, node: NodeHash) -> list[bytes]:
    """That the tree of the first ``new`` leaves extends that of the first ``old``: ``PROOF`` of section 2.1.2.

    Nothing needs a proof from an empty tree, or from a tree to itself: then it is empty.

    Raises:
        ValueError: the sizes are not in this order.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves extends none of {old}")
    if old in {0, new}:
        return []
    begin, end = 0, new
    path: list[range] = []
    while old < end:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(range(middle, end))
            end = middle
        else:
            path.append(range(begin, middle))
            begin = middle
    if begin > 0:
        path.append(range(begin, end))
    return [_span_hash(span, node) for span in reversed(path)]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], expected: bytes) -> None:
    """Check an inclusion proof of the leaf with this hash by RFC 9162, section 2.1.3.2.

    Raises:
        ProofError: it does not lead to the ``expected`` root.
    """
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has none at {index}")
    _require_hashes(leaf, expected, *proof)
    found = leaf
    for sibling, is_left in _climb(index, size - 1, proof):
        found = node_hash(sibling, found) if is_left else node_hash(found, sibling)
    if found != expected:
        raise ProofError("the proof leads to another root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check a consistency proof by RFC 9162, section 2.1.4.2.

    Raises:
        ProofError: it does not lead to both roots.
    """
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {new} leaves extends none of {old}")
    if old in {0, new}:
        if proof:
            raise ProofError("the proof is too long")
        if old == new and old_root != new_root:
            raise ProofError("two trees of one size have different roots")
        return
    _require_hashes(old_root, new_root, *proof)
    steps = [old_root, *proof] if old.bit_count() == 1 else [*proof]
    if not steps:
        raise ProofError("the proof is too short")
    level = (old & -old).bit_length() - 1
    found_old = found_new = steps[0]
    for sibling, is_left in _climb((old - 1) >> level, (new - 1) >> level, steps[1:]):
        if is_left:
            found_old, found_new = node_hash(sibling, found_old), node_hash(sibling, found_new)
        else:
            found_new = node_hash(found_new, sibling)
    if found_old != old_root:
        raise ProofError("the proof leads to another old root")
    if found_new != new_root:
        raise ProofError("the proof leads to another new root")


def _climb(place: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each hash of a proof, on the way from a node up to the root, and whether it stands left of what was found so far.

    The node is at ``place`` in its level, whose last one is at ``last``.
    """
    for sibling in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        is_left = bool(place & 1) or place == last
        while is_left and place and not place & 1:
            place, last = place >> 1, last >> 1
        yield sibling, is_left
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("the proof is too short")


def _split(size: int) -> int:
    """The largest power of two that is smaller than ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def _full_nodes(span: range) -> list[tuple[int, int]]:
    """The nodes that cover a span of leaves which begins where a node of its length does, the largest first."""
    begin = span.start
    nodes: list[tuple[int, int]] = []
    while begin < span.stop:
        level = (span.stop - begin).bit_length() - 1
        nodes.append((level, begin >> level))
        begin += 1 << level
    return nodes


def _span_hash(span: range, node: NodeHash) -> bytes:
    return fold([node(*place) for place in _full_nodes(span)])


def fold(nodes: Sequence[bytes]) -> bytes:
    """The root above the roots of full subtrees, the largest first."""
    *rest, found = nodes
    for left in reversed(rest):
        found = node_hash(left, found)
    return found


def _require_hashes(*hashes: bytes) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofError(f"a hash has {HASH_BYTES} bytes")
