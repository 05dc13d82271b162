"""Who waits for answers in this process, wherever they are given."""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from uuid import UUID

from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import Views

LOOK_AGAIN = 0.05
"""Seconds after which a process that drains looks again whether somebody waits."""


class Audience:
    """Those who follow messages here.

    Args:
        followed: the messages that somebody follows. Among them may be such as had ended before.
    """

    def __init__(self, followed: Callable[[], AbstractSet[UUID]], views: Views) -> None:
        self._followed = followed
        self._views = views

    async def waits(self) -> bool:
        """Whether an answer that somebody follows is still to come. Who reads an old one keeps nothing going."""
        followed = self._followed()
        try:
            return bool(followed and await self._views.unfinished(followed))
        except StorageUnavailableError:
            return True

    async def until_served(self) -> None:
        """Until nobody waits."""
        while await self.waits():  # noqa: ASYNC110 - it is somewhere else that answers are given
            await asyncio.sleep(LOOK_AGAIN)
