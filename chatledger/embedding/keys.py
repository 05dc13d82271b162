"""Keys that wrap others."""

from uuid import UUID

from chatledger.application.accepting import accept_id
from chatledger.embedding.access import Access
from chatledger.embedding.values import User


class Keys:
    """``ledger.keys``."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def rotate_master(self) -> int:
        """Have a new master key take the place of the present one; how many keys it wraps.

        Raises:
            NoSuccessorError: many processes share the ledger, and the new one has to be put beside the present one
                first, on each node.
            SealBrokenError: a key does not open; nothing has changed.
            StorageUnavailableError: the store is in trouble; do it again.
        """
        with self._access.use() as application:
            return await application.rotating_keys.rotate_master_key(self._access.host())

    async def rotate_user(self, app: UUID, user: User) -> int:
        """Have the keys of a person's conversations and files wrapped by a new secret; how many.

        Raises:
            NotFoundError: there is no such app, or it has no such user.
            InvalidParameterError: an argument is not acceptable.
            SealBrokenError: a key does not open; nothing has changed.
            StorageUnavailableError: the store is in trouble; do it again.
        """
        with self._access.use() as application:
            caller = await self._access.person(app, user)
            person = await application.end_users.named(accept_id("app", app), caller.kind, caller.user or "")
            return await application.rotating_keys.rotate_key_of(person, self._access.host())
