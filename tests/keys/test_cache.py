"""The keys at hand: an end to some of them costs no look at all the others."""

import os
from uuid import UUID

import pytest

from chatledger.adapters.keys import cache
from chatledger.adapters.keys.cache import KeyCache, KnownKey
from chatledger.adapters.keys.cipher import SECRET_BYTES
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.system_clock import new_id


class Watched(KnownKey):
    """Counts how often somebody looks at what stands above a key."""

    __slots__ = ("_parent",)

    looks = 0

    @property
    def parent(self) -> UUID | None:
        Watched.looks += 1
        return self._parent

    @parent.setter
    def parent(self, parent: UUID | None) -> None:
        self._parent = parent


def keep(keys: KeyCache, parent: UUID | None) -> UUID:
    key_id = new_id()
    keys.keep(key_id, Watched(parent, os.urandom(SECRET_BYTES)))
    return key_id


def test_destroying_a_family_leaves_all_the_others_alone() -> None:
    keys = KeyCache()
    families = []
    for _ in range(200):
        person = keep(keys, None)
        conversation = keep(keys, person)
        families.append([person, conversation, keep(keys, conversation), keep(keys, person)])
    doomed, *others = families
    held = [known.data_key for key_id in doomed if (known := keys.get(key_id))]
    Watched.looks = 0
    keys.destroy([doomed[0], new_id()])
    assert Watched.looks <= 3 * len(doomed)
    assert not [key_id for key_id in doomed if keys.get(key_id)]
    for data_key in held:
        with pytest.raises(KeyDestroyedError):
            data_key.seal(b"text", b"")
    assert all(keys.get(key_id) for family in others for key_id in family)


def test_of_those_that_are_at_hand_no_more_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHED_KEYS", 3)
    keys, person = KeyCache(), new_id()
    first, *others = [keep(keys, person) for _ in range(4)]
    assert [bool(keys.get(key_id)) for key_id in (first, *others)] == [False, True, True, True]
    keys.forget(others[0])
    keys.destroy(others[1:])
    assert not keys.at_hand()
    assert not keys._made_under
