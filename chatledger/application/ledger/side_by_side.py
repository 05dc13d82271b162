"""Nodes of several releases beside each other: what the others have appended is shown here, too."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from chatledger.application.ports.clock import Clock
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.versions import SeenVersions, Versions

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.5

SECONDS_TRUSTED = 1.5
"""For how long nobody is taken to be there whom a look has not shown. A node that comes waits for longer before it
appends."""

SECONDS_KEPT = 3_600.0
"""For how long the tables of a version stay that no node has: it may be a release on its way back."""


class SideBySide:
    """Looks, now and then, who else is there; catches up with them; and drops what nobody has used for long.

    Args:
        versions: of the ledger's read models.
        catch_up: moves this release's to the head.
        clock: tells when a look is too old.
    """

    def __init__(self, versions: Versions, catch_up: Callable[[], Awaitable[object]], clock: Clock) -> None:
        self._versions = versions
        self._catch_up = catch_up
        self._clock = clock
        self._has_others = True
        self._looked_at = clock.monotonic()
        self._unused: dict[int, float] = {}

    def may_lag(self) -> bool:
        """Whether somebody else may have appended what the read models here do not show yet."""
        return self._has_others or self._clock.monotonic() - self._looked_at > SECONDS_TRUSTED

    async def run(self) -> None:
        """Look until the end."""
        while True:
            try:
                await self.look()
            except StorageUnavailableError as error:
                log.info("nodes of other releases are not looked for: %s", error)
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    async def look(self) -> None:
        """Look once.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        began = self._clock.monotonic()
        seen = await self._versions.look()
        self._has_others = bool(seen.in_use) or seen.lags_behind
        self._looked_at = began
        if not seen.is_here:
            log.warning("the read models were dropped while this node was away: they are made anew")
            await self._versions.make()
        if seen.lags_behind:
            await self._catch_up()
        await self._drop_unused(seen, began)

    async def _drop_unused(self, seen: SeenVersions, now: float) -> None:
        unused = set(seen.kept) - set(seen.in_use)
        self._unused = {version: self._unused.get(version, now) for version in unused}
        for version, since in self._unused.items():
            if now - since >= SECONDS_KEPT and await self._versions.drop(version):
                log.info("the read models of version %d are dropped: no node has it", version)
