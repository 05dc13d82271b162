"""``chatledger passports``: the keys that sign them."""

from chatledger.adapters.cli.console import Result, listing
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.orders import PassportKeyRotated, RotatePassportKey
from chatledger.settings import Settings


def rotate_key(settings: Settings, *, forget_earlier: bool) -> Result:
    """Sign passports by a new key."""
    done = deliver(settings, RotatePassportKey(forget_earlier), PassportKeyRotated)
    then = "All earlier passports are void." if forget_earlier else "Earlier passports are good until they expire."
    return Result(done, f"{listing({'key_id': done.key_id})}\n\n{then}")
