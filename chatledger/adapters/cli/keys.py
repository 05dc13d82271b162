"""``chatledger keys``: new secrets for keys that wrap others, and another place for all of them."""

from typing import TYPE_CHECKING

from chatledger.adapters.cli.console import ProgressLine, Result, listing
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.orders import MasterKeyRotated, RotateMasterKey, RotateUserKey, UserKeyRotated
from chatledger.settings import Settings

if TYPE_CHECKING:
    from chatledger.bootstrap import KeyPlace


def rotate_master(settings: Settings) -> Result:
    """Put a new master key in the place of the present one."""
    done = deliver(settings, RotateMasterKey(), MasterKeyRotated)
    then = (
        "The former master key opens nothing but earlier copies of the key store. Back up the new one with a new copy; "
        "once nobody needs the earlier copies, destroy them with the former key."
    )
    return Result(done, f"{listing({'keys': f'{done.keys:,}'})}\n\n{then}")


def rotate_user(settings: Settings, wanted: RotateUserKey) -> Result:
    """Wrap the keys of a person's conversations and files by a new secret."""
    done = deliver(settings, wanted, UserKeyRotated)
    return Result(done, listing({"end_user_id": done.end_user_id, "keys": f"{done.keys:,}"}))


def copy(settings: Settings, place: "KeyPlace", *, remove_source: bool) -> Result:
    """Copy all keys from the data folder into the database, or back."""
    from chatledger.bootstrap import copy_keys_to  # noqa: PLC0415

    done = copy_keys_to(place, settings, ProgressLine("keys", "keys"), remove_source=remove_source)
    then = (
        f"{done.source} has none of them any more."
        if done.source_removed
        else f"{done.source} has them still, and keeps those of whoever is erased from now on: the same command with "
        "--remove-source destroys them there."
    )
    return Result(done, f"{done.target} has {done.keys:,} keys, and the master key opens them. {then}")
