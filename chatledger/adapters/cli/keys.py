"""``chatledger keys``: new secrets for keys that wrap others."""

from chatledger.adapters.cli.console import Result, listing
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.orders import MasterKeyRotated, RotateMasterKey, RotateUserKey, UserKeyRotated
from chatledger.settings import Settings


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
