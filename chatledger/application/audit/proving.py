"""Checkpoints and proofs, for whoever wants to check what they were told."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from chatledger.application.accepting import accept_number
from chatledger.application.audit.merkle import (
    NodeHash,
    ProofError,
    consistency_proof,
    inclusion_proof,
    root,
    verify_inclusion,
)
from chatledger.application.audit.notes import Checkpoint, Note
from chatledger.application.audit.tiles import TILE_WIDTH, MissingLeafError, TiledTree
from chatledger.application.audit.tlog_proof import TlogProof
from chatledger.application.errors import LedgerInconsistentError, NotFoundError
from chatledger.application.ports.notary import NotaryStore, SignedCheckpoint, TreeRows

REMEMBERED_TILES = 1_024
REMEMBERED_NODES = 4_096


class ConsistencyProof(msgspec.Struct, frozen=True, kw_only=True):
    """That the ledger of ``new`` events extends that of ``old``: RFC 6962, section 2.1.2."""

    old: int
    new: int
    hashes: Sequence[bytes]


class Proving:
    """Proofs about a ledger's tree. None of them tells anything of what the events say."""

    def __init__(self, store: NotaryStore, origin: str) -> None:
        self._store = store
        self._origin = origin

    async def checkpoint(self, size: int | None = None) -> SignedCheckpoint:
        """The last checkpoint, or the last one of a size.

        Raises:
            NotFoundError: none was signed.
        """
        if size is None:
            found = await self._store.newest(self._origin)
        else:
            found = await self._store.of_size(self._origin, size)
        if found is None:
            raise NotFoundError("checkpoint")
        return found

    async def inclusion(self, position: int, size: int | None = None) -> TlogProof:
        """That the event at a position is covered by a checkpoint, the last one if no size is given.

        Raises:
            NotFoundError: no checkpoint of that size was signed.
            InvalidParameterError: it does not cover the position.
            LedgerInconsistentError: the ledger is not what was signed.
        """
        signed = await self.checkpoint(size)
        position = accept_number("position", position, 1, signed.size)
        head = Checkpoint.parse(Note.parse(signed.note).text)
        hashes = await self._store.read(lambda rows: _inclusion(TiledTree(rows).node, position - 1, head))
        return TlogProof(position - 1, tuple(hashes), signed.note)

    async def newest_size(self) -> int:
        """How many events the last checkpoint covers; 0 where none was signed."""
        newest = await self._store.newest(self._origin)
        return 0 if newest is None else newest.size

    async def inclusions(self, positions: Sequence[int], size: int) -> Sequence[TlogProof]:
        """That the events at these positions are covered by the last checkpoint of a size: all in one snapshot.

        Raises:
            NotFoundError: no checkpoint of that size was signed.
            LedgerInconsistentError: the ledger is not what was signed.
        """
        signed = await self.checkpoint(size)
        head = Checkpoint.parse(Note.parse(signed.note).text)

        def prove(rows: TreeRows) -> Sequence[TlogProof]:
            node = remembering(rows)
            hashes = ((position - 1, _inclusion(node, position - 1, head)) for position in positions)
            return [TlogProof(index, tuple(path), signed.note) for index, path in hashes]

        return await self._store.read(prove)

    async def consistency(self, old: int, new: int | None = None) -> ConsistencyProof:
        """That the ledger of ``new`` events, those of the last checkpoint by default, extends that of ``old``.

        Raises:
            NotFoundError: no checkpoint was signed.
            InvalidParameterError: the sizes are not in this order, or nothing that large was signed.
            LedgerInconsistentError: the ledger has a hole, or is not what was signed.
        """
        newest = (await self.checkpoint()).size
        new = newest if new is None else accept_number("to", new, 0, newest)
        old = accept_number("from", old, 0, new)
        signed = [await self._store.of_size(self._origin, size) for size in (old, new)]
        heads = [Checkpoint.parse(Note.parse(each.note).text) for each in signed if each is not None]
        return ConsistencyProof(
            old=old, new=new, hashes=await self._store.read(lambda rows: _consistency(rows, old, new, heads))
        )


def remembering(rows: TreeRows) -> NodeHash:
    """Nodes for many proofs at once: what one of them has read or made the others, which are mostly near, do not again.

    Calling it raises what :meth:`TiledTree.node` does.
    """
    return lru_cache(REMEMBERED_NODES)(TiledTree(_RememberedRows(rows)).node)


class _RememberedRows:
    """Rows that are not read again."""

    def __init__(self, rows: TreeRows) -> None:
        self._rows = rows
        self._tiles = lru_cache(REMEMBERED_TILES)(rows.tiles)
        self._tile = lru_cache(REMEMBERED_TILES)(self._read_tile)

    def _read_tile(self, number: int) -> Sequence[bytes]:
        return self._rows.leaves(number * TILE_WIDTH, TILE_WIDTH)

    def size(self) -> int:
        """How many events the ledger says it has."""
        return self._rows.size()

    def leaves(self, first: int, count: int) -> Sequence[bytes]:
        """The hashes of these leaves."""
        number, offset = divmod(first, TILE_WIDTH)
        if offset + count > TILE_WIDTH:
            return self._rows.leaves(first, count)
        return self._tile(number)[offset : offset + count]

    def tiles(self, level: int, first: int, count: int) -> Mapping[int, bytes]:
        """The roots of these tiles."""
        return self._tiles(level, first, count)

    def next_tile(self, level: int) -> int:
        """The number after the last tile that is stored at a level."""
        return self._rows.next_tile(level)


def _inclusion(node: NodeHash, index: int, head: Checkpoint) -> list[bytes]:
    """It is checked before it is given out: a proof that proves nothing is no answer."""
    try:
        hashes = inclusion_proof(index, head.size, node)
        verify_inclusion(index, head.size, node(0, index), hashes, head.root)
    except (ProofError, MissingLeafError) as error:
        raise LedgerInconsistentError(f"position {index + 1:,} is not what was signed: {error}") from error
    return hashes


def _consistency(rows: TreeRows, old: int, new: int, heads: Sequence[Checkpoint]) -> list[bytes]:
    """Given out only where both trees are those that were signed, as far as such trees were."""
    tree = TiledTree(rows)
    try:
        for head in heads:
            if root(head.size, tree.node) != head.root:
                raise LedgerInconsistentError(f"the first {head.size:,} events are not those that were signed")
        return consistency_proof(old, new, tree.node)
    except MissingLeafError as error:
        raise LedgerInconsistentError(str(error)) from error
