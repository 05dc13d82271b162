"""Links to files for whoever holds them: signed, and good for a while."""

import hmac
from uuid import UUID

from chatledger.application.errors import LinkRefusedError
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.keys import Keyring

_PURPOSE = "file link"


class FileLinks:
    """Signs and checks links by a keyed hash over the file and the link's end.

    The hash is under the keyring's own key: nothing is stored of a link, and with another key all of them end.

    Attributes:
        lifetime: seconds for which a link is good.
    """

    def __init__(self, keyring: Keyring, clock: Clock, lifetime: int) -> None:
        self._keyring = keyring
        self._clock = clock
        self.lifetime = lifetime

    def path(self, file_id: UUID) -> str:
        """The path and query of a link that is good from now on."""
        expires = int(self._clock.now().timestamp()) + self.lifetime
        return f"/files/{file_id}?expires={expires}&signature={self._sign(file_id, expires)}"

    def check(self, file_id: UUID, expires: int, signature: str) -> None:
        """Let a link pass that was made here and has not ended.

        Raises:
            LinkRefusedError: it was not, or has.
        """
        is_ours = hmac.compare_digest(self._sign(file_id, expires).encode(), signature.encode())
        if not is_ours or expires < self._clock.now().timestamp():
            raise LinkRefusedError

    def _sign(self, file_id: UUID, expires: int) -> str:
        return self._keyring.lookup(_PURPOSE, f"{file_id} {expires}")
