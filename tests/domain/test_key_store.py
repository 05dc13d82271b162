"""The key store's master key."""

from chatledger.domain.events import MasterKeyRotated
from chatledger.domain.key_store import KeyStore
from tests.domain.specification import given


def test_each_rotation_of_the_master_key_is_a_fact() -> None:
    rotated = MasterKeyRotated(3)
    given(KeyStore).when(lambda key_store: key_store.rotate_master_key(3)).then(rotated)
    given(KeyStore, rotated).when(lambda key_store: key_store.rotate_master_key(3)).then(rotated)
