"""``chatledger checkpoint`` and ``chatledger notary``: who signs the ledger, and what was signed."""

import asyncio
from collections.abc import Sequence

import msgspec

from chatledger.adapters.cli.console import Result, listing
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.orders import NotaryKeyRotated, RotateNotaryKey, SignCheckpoint, Signed
from chatledger.settings import Settings


class NotaryShown(msgspec.Struct, frozen=True, kw_only=True):
    """The log's name, its keys, oldest first, the last checkpoint, and how many the sink has not taken."""

    origin: str
    verifier_keys: Sequence[str]
    checkpoint: Signed | None
    undelivered: int


def sign_checkpoint(settings: Settings) -> Result:
    """Sign the ledger as it is now."""
    signed = deliver(settings, SignCheckpoint(), Signed)
    return Result(signed, signed.note.rstrip("\n"))


def rotate_key(settings: Settings) -> Result:
    """Sign with a new key."""
    done = deliver(settings, RotateNotaryKey(), NotaryKeyRotated)
    then = "Whoever checks checkpoints needs it from here on. Both keys have signed this one:"
    return Result(done, f"{done.verifier_key}\n\n{then}\n\n{done.checkpoint.note.rstrip(chr(10))}")


def show(settings: Settings) -> Result:
    """What there is to check checkpoints with."""
    shown = asyncio.run(_read(settings))
    signed = f"{shown.checkpoint.size:,} events" if shown.checkpoint else "nothing yet"
    lines = {"origin": shown.origin, "signed": signed}
    if settings.checkpoint_sink is not None:
        lines["undelivered"] = f"{shown.undelivered:,} checkpoints"
    keys = "\n".join(shown.verifier_keys) or "No key has signed anything yet: `chatledger checkpoint` has it done."
    return Result(shown, f"{listing(lines)}\n\n{keys}")


async def _read(settings: Settings) -> NotaryShown:
    from chatledger.adapters.persistence.notary import SqlNotaryStore  # noqa: PLC0415
    from chatledger.bootstrap import log_origin, open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        store = SqlNotaryStore(reading.reader)
        origin = await log_origin(settings, store, reading.keyring)
        signed = await store.newest(origin)
        return NotaryShown(
            origin=origin,
            verifier_keys=await store.verifier_keys(origin),
            checkpoint=Signed(origin, signed.size, signed.note.decode()) if signed else None,
            undelivered=(await store.backlog()).count,
        )
