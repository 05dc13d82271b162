"""The tree in tiles: which upper hashes are kept, so that a proof need not read every leaf.

As in C2SP's tlog-tiles a tile is a full subtree of 256 nodes. Only its root is kept, in a row of some 40 bytes: the
leaves stand with the events, and the nodes between are made again from the 256 below. Tiles are disposable: what is
missing is made from the leaves.
"""

from collections.abc import Sequence

import msgspec

from chatledger.application.audit.merkle import HASH_BYTES, TILE_HEIGHT, perfect_root
from chatledger.application.ports.notary import TreeRows

TILE_WIDTH = 1 << TILE_HEIGHT
TOP_LEVEL = 7
"""More events than 256 ** 7 there are not."""


class MissingLeafError(Exception):
    """An event that the ledger must have is not there, or has no leaf.

    Attributes:
        first: the first position that it may have stood at.
        last: the last one.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__(f"the ledger has lost an event, or its leaf, between the positions {first:,} and {last:,}")
        self.first = first
        self.last = last


class Tile(msgspec.Struct, frozen=True):
    """A full tile.

    Attributes:
        level: 1 for those over leaves, 2 for those over tiles of level 1, and so on.
        number: from 0 on.
        root: the hash of all that it covers.
    """

    level: int
    number: int
    root: bytes


class TiledTree:
    """The nodes of the ledger's tree.

    Args:
        rows: where leaves and tiles are.
        trusts_tiles: whether to go by the tiles that are kept; else all is made from the leaves, however many.
    """

    def __init__(self, rows: TreeRows, *, trusts_tiles: bool = True) -> None:
        self._rows = rows
        self._trusts_tiles = trusts_tiles

    def node(self, level: int, index: int) -> bytes:
        """The hash of a node.

        Raises:
            MissingLeafError: the ledger has a hole.
        """
        tile_level, height = divmod(level, TILE_HEIGHT)
        return perfect_root(self._row(tile_level, index << height, 1 << height))

    def stands(self, numbers: range) -> bool:
        """Whether these tiles over leaves, and those over them, are what lies below them, as far as they are kept.

        Raises:
            MissingLeafError: the ledger has a hole.
        """
        for level in range(1, TOP_LEVEL + 1):
            kept = self._rows.tiles(level, numbers.start, len(numbers))
            if any(root != self._made(level, number) for number, root in kept.items()):
                return False
            numbers = range(numbers.start >> TILE_HEIGHT, (numbers.stop - 1 >> TILE_HEIGHT) + 1)
        return True

    def missing(self, size: int, limit: int) -> list[Tile]:
        """The next full tiles of a tree that are not kept yet, those over leaves first."""
        found: list[Tile] = []
        level, full = 1, size >> TILE_HEIGHT
        while full and len(found) < limit:
            first = self._rows.next_tile(level)
            numbers = range(first, min(full, first + limit - len(found)))
            found += [Tile(level, number, self.node(level * TILE_HEIGHT, number)) for number in numbers]
            level, full = level + 1, full >> TILE_HEIGHT
        return found

    def _row(self, tile_level: int, first: int, count: int) -> Sequence[bytes]:
        """Nodes side by side, at a level where tiles have their roots."""
        if tile_level == 0:
            leaves = self._rows.leaves(first, count)
            if len(leaves) != count or not all(map(_is_hash, leaves)):
                raise MissingLeafError(first + 1, first + count)
            return leaves
        kept = self._rows.tiles(tile_level, first, count) if self._trusts_tiles else {}
        numbers = range(first, first + count)
        return [kept[at] if _is_hash(kept.get(at)) else self._made(tile_level, at) for at in numbers]

    def _made(self, tile_level: int, number: int) -> bytes:
        return perfect_root(self._row(tile_level - 1, number << TILE_HEIGHT, TILE_WIDTH))


def _is_hash(stored: object) -> bool:
    """Whoever has the database may have written anything."""
    return isinstance(stored, bytes) and len(stored) == HASH_BYTES
