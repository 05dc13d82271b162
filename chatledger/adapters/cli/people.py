"""``chatledger erase`` and ``chatledger hold``: what becomes of what people wrote."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from chatledger.adapters.cli.console import (
    REFUSED,
    SUCCESS,
    WRONG_USAGE,
    CommandFailedError,
    ProgressLine,
    Result,
    listing,
    moment,
    table,
)
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.people_orders import Erased, EraseUser, Held, PlaceHold, Released, ReleaseHold
from chatledger.adapters.cli.receipt import write
from chatledger.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatledger.application.ports.erasure import Belongings, Hold

PAGE = 100


def erase(settings: Settings, wanted: EraseUser, output: Path | None, *, is_sure: bool) -> Result:
    """Say what will be erased, have it confirmed, wait for the end, and keep the receipt."""
    if output is not None and output.exists():
        raise CommandFailedError(f"{output} is there already")
    person, theirs = asyncio.run(_look(settings, wanted))
    what = (
        f"All that app {wanted.app_id} has of this person ({person}) will be erased for good: "
        f"{theirs.conversations:,} conversations with {theirs.messages:,} messages, and {theirs.files:,} files."
    )
    if not is_sure:
        _confirm(what)
    erased = deliver(settings, wanted, Erased, progress=ProgressLine("erase", "parts"))
    fields = {name: value for name, value in msgspec.structs.asdict(erased).items() if name != "receipt"}
    return Result(erased, f"{listing(fields)}\n\n{_ending(erased, output)}", REFUSED if _goes_on(erased) else SUCCESS)


def _goes_on(erased: Erased) -> bool:
    return erased.erased_position is None


def _ending(erased: Erased, output: Path | None) -> str:
    if _goes_on(erased):
        return "It is not done yet: the server goes on with it, also after a restart."
    if erased.receipt is None:
        return f"It is done. No checkpoint covers it yet: `chatledger receipt {erased.end_user_id}` proves it later."
    if output is None:
        return f"It is done. The receipt:\n\n{erased.receipt}"
    write(output, erased.receipt)
    return f"It is done. The receipt is in {output}."


def _confirm(what: str) -> None:
    """Ask whoever sits there.

    Raises:
        CommandFailedError: they do not say yes, or nobody sits there.
    """
    if not sys.stdin.isatty():
        raise CommandFailedError(f"{what} Where nobody can be asked, --yes says so", WRONG_USAGE)
    print(f"{what}\nNothing can bring it back. Type yes to erase it: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "yes":
        raise CommandFailedError("nothing was erased")


async def _look(settings: Settings, wanted: EraseUser) -> "tuple[UUID, Belongings]":
    from chatledger.application.caller import EndUsers  # noqa: PLC0415
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        end_users = EndUsers(reading.views, reading.keyring)
        person = await end_users.named_or_own(wanted.app_id, wanted.kind, wanted.user)
        return person, await reading.erasures.belongings(person)


def place_hold(settings: Settings, wanted: PlaceHold) -> Result:
    """Let nothing of a person's be erased."""
    held = deliver(settings, wanted, Held)
    text = listing({"hold_id": held.hold_id, "end_user_id": held.end_user_id})
    return Result(held, f"{text}\n\nNothing of theirs is erased until it is released.")


def release_hold(settings: Settings, hold_id: UUID) -> Result:
    """End a legal hold."""
    released = deliver(settings, ReleaseHold(hold_id), Released)
    return Result(released, f"{released.hold_id} is released.")


def list_holds(settings: Settings, app_id: UUID | None) -> Result:
    """Those that were not released, the last placed first."""
    holds = asyncio.run(_read_holds(settings, app_id))
    if not holds:
        return Result([], "There are no legal holds.")
    rows = [(hold.hold_id, hold.app_id, hold.end_user_id, moment(hold.placed_at), hold.reason) for hold in holds]
    data = [msgspec.structs.asdict(hold) | {"placed_at": moment(hold.placed_at)} for hold in holds]
    return Result(data, table(("hold", "app", "end user", "placed", "reason"), rows))


async def _read_holds(settings: Settings, app_id: UUID | None) -> "Sequence[Hold]":
    from chatledger.application.ports.views import Page  # noqa: PLC0415
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    found, has_more = list["Hold"](), True
    async with open_for_reading(settings) as reading:
        while has_more:
            page = Page(PAGE, found[-1].hold_id if found else None)
            read = await reading.erasures.holds(app_id, page)
            if read is None:  # the one to go on from has been released meanwhile
                found.clear()
                continue
            found += read[0]
            has_more = read[1]
    return found
