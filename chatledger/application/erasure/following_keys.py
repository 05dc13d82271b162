"""What other processes do to the keys, brought to whatever this one has at hand."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from chatledger.application.erasure.destroying import let_go, let_go_of_all
from chatledger.application.ports.erasure import Forgetful
from chatledger.application.ports.keys import LONGEST_SILENCE, SECONDS_TO_BE_KNOWN, Keyring, SigningKeys
from chatledger.application.ports.storage import StorageUnavailableError

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_CHECKS = (SECONDS_TO_BE_KNOWN - LONGEST_SILENCE) / 2
"""Of whether the last look is too long ago: no more than two numbers are compared."""


class FollowingKeys:
    """Where processes share a key store, each of them looks into it all the time.

    One that cannot has nothing in memory any more of what was sealed, and its keys are of no use, until it can again.

    Args:
        forgetful: what keeps content in memory.
        signing_keys: those that are at hand, of each purpose.
    """

    def __init__(self, keyring: Keyring, forgetful: Sequence[Forgetful], signing_keys: Sequence[SigningKeys]) -> None:
        self._keyring = keyring
        self._forgetful = forgetful
        self._signing_keys = signing_keys
        self._known = 0

    async def run(self) -> None:
        """Look on until it is stopped. A key store that is away is asked again."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._look_on())
            both.create_task(self._watch())

    async def _look_on(self) -> None:
        while True:
            with suppress(StorageUnavailableError):
                await self._look()
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    async def _watch(self) -> None:
        """By itself: a look at a server that says nothing takes long."""
        while True:
            if not self._keyring.is_current:
                let_go_of_all(self._forgetful)
            await asyncio.sleep(SECONDS_BETWEEN_CHECKS)

    async def _look(self) -> None:
        last = await asyncio.to_thread(self._keyring.catch_up)
        if last == self._known:
            return
        let_go(self._forgetful, self._keyring)
        for signing_keys in self._signing_keys:
            await asyncio.to_thread(signing_keys.catch_up)
        self._known = last
