"""New secrets for keys that wrap others; no event is written anew for that."""

import asyncio
from uuid import UUID

from chatledger.application.context import Context
from chatledger.application.errors import NoSuccessorError, NotFoundError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.keys import KeyDestroyedError, SuccessorError
from chatledger.domain.end_user import EndUser
from chatledger.domain.errors import ErasedError
from chatledger.domain.key_store import KEY_STORE_ID, KeyStore


class RotatingKeys:
    """The use cases of whoever fears that a key has got into other hands, or changes it from time to time.

    The key store comes first, the event after it, and at last its files are rid of what the former secrets open: where
    a process ends in between, whoever ordered it was told of no success, and orders it again. What is in the files
    then is gone with whatever is erased or rotated next, at the latest when retention looks.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._turn = asyncio.Lock()

    async def rotate_master_key(self, context: Context) -> int:
        """Have a new master key wrap what the present one wraps, and take its place; how many keys.

        Raises:
            NoSuccessorError: the operator has to give the new one, and has not.
            SealBrokenError: a key does not open; nothing has changed.
            StorageUnavailableError: one of the stores is in trouble; order it again.
        """
        async with self._turn:
            try:
                keys = await asyncio.to_thread(self._ledger.keyring.rotate_master_key)
            except SuccessorError as error:
                raise NoSuccessorError(str(error)) from error
            staged = await self._ledger.load(KeyStore, KEY_STORE_ID) or Staged(KeyStore(KEY_STORE_ID), None)
            staged.aggregate.rotate_master_key(keys)
            await self._ledger.hand_in(staged, context=context)
            await asyncio.to_thread(self._ledger.keyring.scrub)
            return keys

    async def rotate_key_of(self, end_user_id: UUID, context: Context) -> int:
        """Have the keys of a person's conversations and files wrapped by a new secret; how many.

        Raises:
            NotFoundError: there is no such person.
            KeyDestroyedError: they are erased, or about to be.
            SealBrokenError: a key does not open; nothing has changed.
            StorageUnavailableError: one of the stores is in trouble; order it again.
        """
        async with self._turn:
            person = await self._ledger.load(EndUser, end_user_id)
            if person is None or person.key_id is None:
                raise NotFoundError("end_user")
            keys = await asyncio.to_thread(self._ledger.keyring.rotate_key, person.key_id)
            try:
                await self._ledger.decide(
                    EndUser, end_user_id, lambda staged: staged.aggregate.rotate_key(keys), context
                )
            except ErasedError as error:
                raise KeyDestroyedError(str(end_user_id)) from error
            await asyncio.to_thread(self._ledger.keyring.scrub)
            return keys
