"""The tree of the leaves that are there, beside the tiles that were kept of it.

Tiles prove nothing by themselves: whoever changed an event could have changed them too. But where the leaves no longer
lead to a root that was signed, and the tiles do, the tiles are as they were signed, and show where the leaves are not.
"""

from collections.abc import Sequence

from chatledger.application.audit.findings import LEAF_MADE_ANEW, Findings
from chatledger.application.audit.merkle import TILE_HEIGHT, CompactRange, fold
from chatledger.application.audit.tiles import TILE_WIDTH
from chatledger.application.ports.audit import AuditedLedger

MOST_DOUBTED = 1_000


class KeptTree:
    """Grows leaf by leaf, and goes on by the tiles where they are right and the leaves are not."""

    def __init__(self, ledger: AuditedLedger, findings: Findings) -> None:
        self._ledger = ledger
        self._findings = findings
        self._by_leaves = CompactRange()
        self._by_tiles = CompactRange()
        self._doubted: list[int] = []
        self._met = 0

    @property
    def size(self) -> int:
        """How many leaves it has."""
        return self._by_leaves.size

    @property
    def root(self) -> bytes:
        """Of the tree of the leaves."""
        return self._by_leaves.root()

    def extend(self, leaves: Sequence[bytes]) -> None:
        """The next leaves."""
        self._by_leaves.extend(leaves, self._beside_tiles)

    def _beside_tiles(self, level: int, first: int, nodes: Sequence[bytes]) -> None:
        """Nodes that leaves have made, beside the tiles of the lowest level."""
        if level != TILE_HEIGHT:
            return
        kept = self._kept(1, first, len(nodes))
        for number, node in enumerate(nodes, first):
            if kept.get(number, node) != node and len(self._doubted) < MOST_DOUBTED:
                self._doubted.append(number)
        self._by_tiles.extend([kept.get(number, node) for number, node in enumerate(nodes, first)], self._above_tiles)

    def _above_tiles(self, level: int, first: int, nodes: Sequence[bytes]) -> None:
        """Nodes that tiles have made, beside the tiles above them."""
        tile_level = level // TILE_HEIGHT + 1
        kept = self._kept(tile_level, first, len(nodes))
        for number, node in enumerate(nodes, first):
            if kept.get(number, node) != node:
                text = f"tile {number:,} of level {tile_level} is not that of the {TILE_WIDTH} tiles below it"
                self._findings.add("tile", text)

    def _kept(self, level: int, first: int, count: int) -> dict[int, bytes]:
        kept = self._ledger.tiles(level, first, count)
        self._met += len(kept)
        return {number: root if isinstance(root, bytes) else b"" for number, root in kept.items()}

    def fits(self, signed_root: bytes) -> bool:
        """Whether the leaves lead to a root that was signed, or the tiles do; it goes on from there."""
        full = self.size >> TILE_HEIGHT
        nodes = self._by_leaves.nodes
        above, below = nodes[: full.bit_count()], nodes[full.bit_count() :]
        if self._by_leaves.root() == signed_root:
            for number in self._doubted:
                text = f"tile {number:,} of level 1 is not that of its {TILE_WIDTH} events, which are as signed"
                self._findings.add("tile", text)
            self._by_tiles = CompactRange(full, above)
        elif self._doubted and fold((*self._by_tiles.nodes, *below)) == signed_root:
            for number in self._doubted:
                self._tell_by_tile(number)
            self._by_leaves = CompactRange(self.size, (*self._by_tiles.nodes, *below))
        else:
            return False
        self._doubted.clear()
        return True

    def _tell_by_tile(self, number: int) -> None:
        first, last = (number << TILE_HEIGHT) + 1, (number + 1) << TILE_HEIGHT
        if self._findings.explained(first, last) is None:
            where = f"one of the events from {first:,} to {last:,}"
            text = f"{where} is not what was signed: the tile that was kept of them is another one. {LEAF_MADE_ANEW}"
            self._findings.add("tree", text, first, last)

    def finish(self, *, is_whole: bool) -> None:
        """After the last leaf: tiles that no checkpoint has judged, and, of a whole tree, tiles of nothing."""
        for number in self._doubted:
            first, last = (number << TILE_HEIGHT) + 1, (number + 1) << TILE_HEIGHT
            if self._findings.explained(first, last) is None:
                text = f"the tile of the events from {first:,} to {last:,} is not theirs; nothing signed tells more"
                self._findings.add("tile", text, first, last)
        too_many = self._ledger.count_tiles() - self._met
        if is_whole and too_many:
            self._findings.add("tile", f"{too_many:,} tiles are of nothing that is there")
