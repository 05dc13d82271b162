"""Giving a person's words to somebody outside: only as long as their key is there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from chatledger.application.ports.erasure import IsGone
from chatledger.application.ports.keys import Keyring
from chatledger.application.ports.storage import StorageUnavailableError


class Disclosing:
    """What asks a model beside the answers does so within :meth:`while_sealed`; answers are stopped by themselves."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._under_way: dict[asyncio.Timeout, UUID | None] = {}

    @asynccontextmanager
    async def while_sealed(self, key_id: UUID | None) -> AsyncIterator[None]:
        """Do something with what is sealed under a key; it is broken off as soon as that is destroyed, or may be.

        Raises:
            KeyDestroyedError: it is, or has been meanwhile.
            StorageUnavailableError: that could not be known for a while.
        """
        end = asyncio.timeout(None)
        try:
            async with end:
                self._under_way[end] = key_id
                try:
                    if key_id is not None and self._keyring.cached(key_id) is None:
                        await asyncio.to_thread(self._keyring.key, key_id)
                    yield
                finally:
                    del self._under_way[end]
        except TimeoutError:
            if not end.expired():
                raise
            if key_id is not None:
                await asyncio.to_thread(self._keyring.key, key_id)
            raise StorageUnavailableError("the key store was away") from None

    def forget_erased(self, is_gone: IsGone) -> None:
        """Break off what is under way with what was sealed under keys that are gone."""
        for end, key_id in self._under_way.items():
            if is_gone(key_id) and not end.expired():
                end.reschedule(0)
