"""Signing checkpoints: the ledger as it is, if it extends what was signed before, and not otherwise."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import msgspec

from chatledger.application.audit.extending import Extending, LastSigned
from chatledger.application.audit.notary_keys import NotaryKey, NotaryKeys
from chatledger.application.audit.notes import Checkpoint, VerifierKey, sign_note
from chatledger.application.audit.tiles import TOP_LEVEL, MissingLeafError, Tile, TiledTree
from chatledger.application.context import Context
from chatledger.application.errors import LedgerInconsistentError
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ledger.hand_ins import NotUniqueError, VersionConflictError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.notary import NotaryMemory, NotaryStore, SignedCheckpoint, TreeRows
from chatledger.application.ports.storage import Delete, Insert, UniqueGuard, Upsert
from chatledger.domain.notary import NOTARY_ID, Notary

log = logging.getLogger(__name__)

TILES_AT_ONCE = 64

_NO_TILES = [Delete("tiles", {"level": level}) for level in range(1, TOP_LEVEL + 1)]


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
        self._extending = Extending(store, keys, memory)
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
                await self._ledger.keep(*map(_kept, tiles))

    async def _sign(self, context: Context) -> SignedCheckpoint:
        while (signed := await self._try_to_sign(context)) is None:
            log.info("another notary was signing at the same time")
        return signed

    async def _try_to_sign(self, context: Context) -> SignedCheckpoint | None:
        """None where another notary has signed meanwhile: this one begins anew with what that one has signed.

        So whatever node it is on, and however long that stood still, each checkpoint extends the one before it.
        """
        last = await self._extending.last()
        newest = self.keys.newest()
        head = await self._extension(last)
        kept = None if last is None else last.kept
        if last and kept is None:
            # A crash came between signing and keeping it.
            kept = await self._keep(last.note, last.checkpoint.size)
        if await self._introduce(newest.key, context):
            head = await self._extension(last)
        if kept and last and newest.key in last.signers and head.size == last.checkpoint.size:
            return kept
        note = bytes(sign_note(str(head), self._signers(last)))
        before = last.remembered if last else None
        if not await asyncio.to_thread(self._memory.remember, head.origin, note, instead_of=before):
            return None
        return await self._keep(note, head.size)

    def _signers(self, last: LastSigned | None) -> list[NotaryKey]:
        """The newest key; until it has signed one, those before it too: a chain that no crash can break."""
        newest = self.keys.newest()
        if last is None or newest.key in last.signers:
            return [newest]
        return [*(each for each in self.keys.all() if each.key in last.signers), newest]

    async def _introduce(self, key: VerifierKey, context: Context) -> bool:
        """Have the key on the ledger before it signs anything; whether it was not there yet."""
        while True:
            staged = await self._ledger.load(Notary, NOTARY_ID) or Staged(Notary(NOTARY_ID), None)
            before = staged.aggregate.version
            staged.aggregate.introduce_key(str(key))
            if staged.aggregate.version == before:
                return False
            with suppress(VersionConflictError):  # another notary was quicker
                await self._ledger.hand_in(staged, context=context)
                return True

    async def _extension(self, last: LastSigned | None) -> Checkpoint:
        """The ledger as it is, if it extends the last checkpoint. Tiles that stand against it are made anew."""
        head, are_tiles_sound = await self._extending.extension(last)
        if not are_tiles_sound:
            log.error("the tree's tiles were not those of the ledger: they are made anew")
            await self._ledger.keep(*_NO_TILES)
        return head

    async def _keep(self, note: bytes, size: int) -> SignedCheckpoint:
        """Once, though another notary may find it in the memory and keep it, too."""
        while True:
            number = await self._store.last_number() + 1
            newest = await self._store.newest(self.keys.origin)
            if newest is not None and newest.note == note:
                return newest
            signed_at = to_microseconds(self._clock.now())
            signed = SignedCheckpoint(number=number, origin=self.keys.origin, size=size, note=note, signed_at=signed_at)
            row = msgspec.structs.asdict(signed) | {"note": note.decode(), "delivered_at": None}
            is_free = UniqueGuard("checkpoint", (number,))
            with suppress(NotUniqueError):
                await self._ledger.keep(Insert("checkpoints", row), guards=[is_free])
                return signed


def _kept(tile: Tile) -> Upsert:
    """Whoever was broken off, or another notary, may just be keeping the same one."""
    return Upsert(
        "tiles", {"level": tile.level, "number": tile.number}, msgspec.structs.asdict(tile), {"root": tile.root}
    )


def _missing_tiles(rows: TreeRows) -> tuple[int, list[Tile]]:
    size = rows.size()
    try:
        return size, TiledTree(rows).missing(size, TILES_AT_ONCE)
    except MissingLeafError:
        return size, []
