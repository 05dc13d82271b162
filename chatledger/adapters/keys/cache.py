"""The keys at hand."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from uuid import UUID
from weakref import WeakValueDictionary

from chatledger.adapters.keys.cipher import AesDataKey, sealing_half

CACHED_KEYS = 50_000


class KnownKey:
    """A key at hand: what stands above it, what it seals by, and what it wraps by."""

    __slots__ = ("data_key", "parent", "secret")

    def __init__(self, parent: UUID | None, secret: bytes) -> None:
        self.parent = parent
        self.secret = secret
        self.data_key = AesDataKey(sealing_half(secret))


class KeyCache:
    """The keys that came last, and an end to those that are destroyed, whoever still has one in its hands."""

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, KnownKey] = OrderedDict()
        self._made_under: dict[UUID, set[UUID]] = {}  # of the known ones: a scan of all would be too slow
        self._in_use: WeakValueDictionary[UUID, AesDataKey] = WeakValueDictionary()
        self._guard = threading.Lock()

    def get(self, key_id: UUID) -> KnownKey | None:
        """The key, if it is at hand. Never blocks."""
        return self._known.get(key_id)

    def keep(self, key_id: UUID, known: KnownKey) -> KnownKey:
        """Have it at hand, in place of the one that came first if there are too many."""
        with self._guard:
            # Whoever has it since before it was put out of here must see the end of it too.
            known.data_key = self._in_use.setdefault(key_id, known.data_key)
            self._known[key_id] = known
            if known.parent is not None:
                self._made_under.setdefault(known.parent, set()).add(key_id)
            if len(self._known) > CACHED_KEYS:
                self._put_out(next(iter(self._known)))
        return known

    def at_hand(self) -> Collection[UUID]:
        """The keys that are known here, or in the hands of somebody."""
        with self._guard:
            return self._known.keys() | set(self._in_use.keys())

    def forget(self, key_id: UUID) -> None:
        """Have it no longer at hand."""
        with self._guard:
            self._put_out(key_id)

    def destroy(self, key_ids: Iterable[UUID]) -> None:
        """End these keys, and those that were made under them."""
        with self._guard:
            doomed = list(key_ids)
            while doomed:
                key_id = doomed.pop()
                doomed.extend(self._made_under.get(key_id, ()))
                if (data_key := self._in_use.pop(key_id, None)) is not None:
                    data_key.destroy()
                self._put_out(key_id)

    def _put_out(self, key_id: UUID) -> None:
        known = self._known.pop(key_id, None)
        if known is None or known.parent is None:
            return
        siblings = self._made_under[known.parent]
        siblings.discard(key_id)
        if not siblings:
            del self._made_under[known.parent]
