"""The key store agrees with the ledger about what is erased, whichever of the two is an older copy."""

from sqlalchemy import Engine

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.persistence.erased_keys import ErasedKeys

PAGE = 1_000


def destroy_erased_keys(engine: Engine, keyring: StoredKeyring, *, from_events: bool = False) -> None:
    """Destroy what the ledger says is destroyed and the key store may still have. Blocks.

    A process may have ended between an erasure and the end of its key, or the key store be restored from a backup. It
    knows up to which position of the ledger it has done so; a backup of it knows an earlier one.

    Args:
        engine: connections to the ledger.
        keyring: the key store. If it may not be written, they are only kept from whoever asks there.
        from_events: whether to ask the events themselves, and no read model.

    Raises:
        StorageUnavailableError: one of the stores is in trouble.
    """
    erased, agreed = ErasedKeys(engine, from_events=from_events), keyring.agreed_position
    gone = 0
    position = agreed if agreed <= erased.head() else 0  # else the ledger is the older copy
    while page := erased.page(position, PAGE):
        key_ids = [key_id for _, key_id in page]
        if keyring.store.is_read_only:
            keyring.withhold(key_ids)
        else:
            gone += keyring.destroy(key_ids)
        position = page[-1][0]
    if gone:
        keyring.scrub()
    if position != agreed and not keyring.store.is_read_only:
        keyring.agree(position)
