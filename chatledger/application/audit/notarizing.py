"""Signing checkpoints: the ledger as it is, if it extends what was signed before, and not otherwise."""

import asyncio
import logging
import random
from collections.abc import Callable

import msgspec

from chatledger.application.audit.merkle import ProofError, consistency_proof, root, verify_consistency
from chatledger.application.audit.notary_keys import NotaryKey, NotaryKeys
from chatledger.application.audit.notes import Checkpoint, Note, NoteError, VerifierKey, sign_note
from chatledger.application.audit.tiles import TILE_HEIGHT, TOP_LEVEL, MissingLeafError, Tile, TiledTree
from chatledger.application.context import Context
from chatledger.application.errors import LedgerInconsistentError
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.notary import NotaryMemory, NotaryStore, SignedCheckpoint, TreeRows
from chatledger.application.ports.storage import Delete, Insert
from chatledger.domain.notary import NOTARY_ID, Notary

log = logging.getLogger(__name__)

TILES_AT_ONCE = 64

LOOKED_THROUGH = 64
"""So many of the older tiles are made again from their leaves before each signature, in turn, whatever the ledger's
length: a leaf that was changed long after it was signed is found in the course of time."""

_NO_TILES = [Delete("tiles", {"level": level}) for level in range(1, TOP_LEVEL + 1)]


class _Last(msgspec.Struct, frozen=True):
    """The last checkpoint that was signed, and by whom."""

    signed: SignedCheckpoint
    checkpoint: Checkpoint
    signers: list[VerifierKey]


class Notarizing:
    """Signs the head of the ledger's tree, and keeps what the tree is quickly proved from.

    Attributes:
        refusal: why it signs nothing at the moment; None while it does, as far as anybody knows.
    """

    def __init__(
        self, ledger: Ledger, store: NotaryStore, keys: NotaryKeys, memory: NotaryMemory, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._memory = memory
        self._clock = clock
        self._turn = asyncio.Lock()
        self._looked_through = random.randrange(2**32)  # noqa: S311 - whichever
        self._observers: list[Callable[[], None]] = []
        self.keys = keys
        self.refusal: str | None = None

    def observe(self, observer: Callable[[], None]) -> None:
        """Call ``observer`` after each checkpoint. It must not block or raise."""
        self._observers.append(observer)

    async def checkpoint(self, context: Context) -> SignedCheckpoint:
        """Sign the ledger as it is now. What is signed already is not signed again.

        Raises:
            LedgerInconsistentError: it does not extend what was signed before: nothing is signed.
            StorageUnavailableError: the store, or the key store, is in trouble.
        """
        async with self._turn:
            try:
                signed = await self._sign(context)
            except LedgerInconsistentError as error:
                if self.refusal != str(error):
                    log.critical("no checkpoint is signed: %s", error)
                self.refusal = str(error)
                raise
            self.refusal = None
        for observer in self._observers:
            observer()
        return signed

    async def rotate_key(self, context: Context) -> SignedCheckpoint:
        """Have a new key sign from here on; the checkpoint that it signs together with the one before.

        Its introduction is an event that this checkpoint covers, so whoever trusts the old key may trust the new one.

        Raises:
            LedgerInconsistentError: the ledger does not extend what was signed before: the old key goes on.
            StorageUnavailableError: the store, or the key store, is in trouble.
        """
        await self.checkpoint(context)
        async with self._turn:
            await asyncio.to_thread(self.keys.rotate)
        return await self.checkpoint(context)

    async def keep_tiles(self) -> int:
        """Keep the tiles that have become full, up to the first hole in the ledger; how many events it has.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        while True:
            async with self._turn:
                size, tiles = await self._store.read(_missing_tiles)
                if not tiles:
                    return size
                await self._ledger.keep(*(Insert("tiles", msgspec.structs.asdict(tile)) for tile in tiles))

    async def _sign(self, context: Context) -> SignedCheckpoint:
        last = await self._last()
        newest = self.keys.newest()
        head = await self._extension(last)
        if await self._introduce(newest.key, context):
            head = await self._extension(last)
        if last and newest.key in last.signers and head.size == last.checkpoint.size:
            return last.signed
        note = bytes(sign_note(str(head), self._signers(last)))
        await asyncio.to_thread(self._memory.remember, head.origin, note)
        return await self._keep(note, head.size)

    def _signers(self, last: _Last | None) -> list[NotaryKey]:
        """The newest key; until it has signed one, those before it too: a chain that no crash can break."""
        newest = self.keys.newest()
        if last is None or newest.key in last.signers:
            return [newest]
        return [*(each for each in self.keys.all() if each.key in last.signers), newest]

    async def _last(self) -> _Last | None:
        """What was signed last: on record, or only in the notary's memory, where a crash came between the two."""
        origin = self.keys.origin
        kept, remembered = await self._store.newest(origin), await asyncio.to_thread(self._memory.recall, origin)
        last = self._opened(kept.note) if kept else None
        if remembered is not None and (kept is None or kept.note != remembered):
            checkpoint, signers = self._opened(remembered)
            if last is None or checkpoint.size >= last[0].size:
                return _Last(await self._keep(remembered, checkpoint.size), checkpoint, signers)
        return _Last(kept, *last) if kept and last else None

    def _opened(self, raw: bytes) -> tuple[Checkpoint, list[VerifierKey]]:
        try:
            note = Note.parse(raw)
            signers = note.verified([key.key for key in self.keys.all()], self.keys.is_signed_by)
            return Checkpoint.parse(note.text), signers
        except NoteError as error:
            raise LedgerInconsistentError(f"the last checkpoint on record is not the notary's: {error}") from error

    async def _introduce(self, key: VerifierKey, context: Context) -> bool:
        """Have the key on the ledger before it signs anything; whether it was not there yet."""
        staged = await self._ledger.load(Notary, NOTARY_ID) or Staged(Notary(NOTARY_ID), None)
        before = staged.aggregate.version
        staged.aggregate.introduce_key(str(key))
        if staged.aggregate.version == before:
            return False
        await self._ledger.hand_in(staged, context=context)
        return True

    async def _extension(self, last: _Last | None) -> Checkpoint:
        """The ledger as it is, if it extends the last checkpoint. Tiles that stand against it are made anew."""
        origin, checkpoint, nth = self.keys.origin, last.checkpoint if last else None, self._looked_through
        self._looked_through += 1
        try:
            return await self._store.read(lambda rows: _extended(rows, origin, checkpoint, nth, trusts_tiles=True))
        except LedgerInconsistentError:
            head = await self._store.read(lambda rows: _extended(rows, origin, checkpoint, nth, trusts_tiles=False))
        log.error("the tree's tiles were not those of the ledger: they are made anew")
        await self._ledger.keep(*_NO_TILES)
        return head

    async def _keep(self, note: bytes, size: int) -> SignedCheckpoint:
        signed = SignedCheckpoint(
            number=await self._store.last_number() + 1,
            origin=self.keys.origin,
            size=size,
            note=note,
            signed_at=to_microseconds(self._clock.now()),
        )
        row = msgspec.structs.asdict(signed) | {"note": note.decode(), "delivered_at": None}
        await self._ledger.keep(Insert("checkpoints", row))
        return signed


def _extended(rows: TreeRows, origin: str, last: Checkpoint | None, nth: int, *, trusts_tiles: bool) -> Checkpoint:
    tree, size = TiledTree(rows, trusts_tiles=trusts_tiles), rows.size()
    if last and size < last.size:
        raise LedgerInconsistentError(f"the ledger ends at {size:,}, and {last.size:,} events were signed")
    try:
        if trusts_tiles and not tree.stands(_some_tiles(size, nth)):
            raise LedgerInconsistentError("some of its tiles are not those of its leaves")
        head = Checkpoint(origin, size, root(size, tree.node))
        if last is None:
            return head
        proof = consistency_proof(last.size, size, tree.node)
        verify_consistency(last.size, size, last.root, head.root, proof)
    except MissingLeafError as error:
        raise LedgerInconsistentError(str(error)) from error
    except ProofError as error:
        raise LedgerInconsistentError("some of its events are not those that were signed") from error
    return head


def _some_tiles(size: int, nth: int) -> range:
    """Those whose turn it is."""
    full = size >> TILE_HEIGHT
    first = nth * LOOKED_THROUGH % full if full > LOOKED_THROUGH else 0
    return range(first, min(full, first + LOOKED_THROUGH))


def _missing_tiles(rows: TreeRows) -> tuple[int, list[Tile]]:
    size = rows.size()
    try:
        return size, TiledTree(rows).missing(size, TILES_AT_ONCE)
    except MissingLeafError:
        return size, []
