"""What an app's limits say to one more message."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from chatledger.application.errors import QuotaUsedUpError
from chatledger.application.fingerprints import fingerprint_of
from chatledger.application.ledger.envelope import MICROSECONDS_PER_DAY, day_of, to_microseconds
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.keys import Keyring
from chatledger.application.ports.storage import CeilingGuard, Guard, RepeatGuard
from chatledger.application.ports.views import AppView, Views

MICROSECONDS = 1_000_000


class AppLimits:
    """How many messages may be under way, how many tokens a day may cost, and which requests are one.

    Args:
        most_at_once: unfinished messages that any app may have; 0 is no bound.
    """

    def __init__(self, views: Views, keyring: Keyring, clock: Clock, most_at_once: int) -> None:
        self._views = views
        self._keyring = keyring
        self._clock = clock
        self._most_at_once = most_at_once

    async def require_quota(self, app: AppView) -> None:
        """Let an app pass that has tokens left today, as far as what has ended tells.

        Raises:
            QuotaUsedUpError: it has none.
        """
        quota = app.configuration.limits.tokens_per_day
        if not quota:
            return
        now = to_microseconds(self._clock.now())
        if await self._views.tokens_used(app.app_id, day_of(now)) >= quota:
            left_of_day = MICROSECONDS_PER_DAY - now % MICROSECONDS_PER_DAY
            raise QuotaUsedUpError(-(-left_of_day // MICROSECONDS))

    async def fingerprint(self, app: AppView, key_id: UUID, request: Mapping[str, Any]) -> str | None:
        """What equal requests of one person have in common, under a key of theirs; None where none is looked for."""
        if not app.configuration.limits.dedupe_window:
            return None
        return await fingerprint_of(self._keyring, key_id, "request", request)

    async def running(self, guard: RepeatGuard) -> UUID | None:
        """The message that a repeated request was refused for; None where it has ended meanwhile."""
        return await self._views.running_request(guard.end_user_id, guard.fingerprint)

    def guards(self, app: AppView, end_user_id: UUID, fingerprint: str | None) -> tuple[Guard, ...]:
        """What has to hold when the message is committed: a repeated request is told from one too many."""
        limits = app.configuration.limits
        guards: list[Guard] = []
        if fingerprint is not None:
            guards.append(RepeatGuard(end_user_id, fingerprint, int(limits.dedupe_window * MICROSECONDS)))
        ceilings = [ceiling for ceiling in (limits.concurrency, self._most_at_once) if ceiling]
        if ceilings:
            guards.append(CeilingGuard(app.app_id, min(ceilings)))
        return tuple(guards)
