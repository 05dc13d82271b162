"""A key store that says nothing: what was opened is let go of before anybody's second is over."""

import asyncio
import selectors
import threading
from collections.abc import Sequence
from typing import cast

import pytest

from chatledger.application.erasure.following_keys import FollowingKeys
from chatledger.application.ports.erasure import IsGone
from chatledger.application.ports.keys import LONGEST_SILENCE, SECONDS_TO_BE_KNOWN, Keyring
from chatledger.application.system_clock import new_id


class Impatient(selectors.DefaultSelector):
    """Whoever sleeps is woken at once, and told that the time is over."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.skipped += timeout or 0
        return super().select(timeout and 0)


class ImpatientLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._impatient = Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.skipped


class SilentKeyring:
    """It was looked at once, and does not answer any more."""

    def __init__(self, looked_at: float) -> None:
        self._looked_at = looked_at
        self.ended = threading.Event()

    @property
    def is_current(self) -> bool:
        return asyncio.get_running_loop().time() - self._looked_at <= LONGEST_SILENCE

    def catch_up(self) -> int:
        self.ended.wait()
        return 0


class Opened:
    """Content in memory, sealed under one key.

    Attributes:
        gone: done when it is let go of, with the time of that.
    """

    def __init__(self) -> None:
        self.gone: asyncio.Future[float] = asyncio.Future()

    def forget_erased(self, is_gone: IsGone) -> None:
        if is_gone(new_id()) and not self.gone.done():
            self.gone.set_result(asyncio.get_running_loop().time())


@pytest.mark.parametrize("looked_at", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_content_in_memory_is_let_go_of_within_the_second(looked_at: float) -> None:
    async def seconds_in_memory() -> float:
        keyring, opened = SilentKeyring(looked_at), Opened()
        forgetful: Sequence[Opened] = [opened]
        following = asyncio.ensure_future(FollowingKeys(cast("Keyring", keyring), forgetful, []).run())
        try:
            return await opened.gone - looked_at
        finally:
            keyring.ended.set()
            following.cancel()

    with asyncio.Runner(loop_factory=ImpatientLoop) as runner:
        assert LONGEST_SILENCE < runner.run(seconds_in_memory()) < SECONDS_TO_BE_KNOWN
