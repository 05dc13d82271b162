"""How often an app's key and each of its users may ask."""

from collections.abc import Sequence

import msgspec

from chatledger.application.caller import Caller, EndUsers
from chatledger.application.errors import RateLimitedError
from chatledger.application.ports.rate_limiter import Allowance, RateLimit, RateLimiter


class RequestRates(msgspec.Struct, frozen=True, kw_only=True):
    """Requests per minute where an app says nothing of its own; 0 is no limit."""

    per_key: int = 0
    per_user: int = 0


class RateLimiting:
    """Counts the requests of callers who have shown a credential, before anything is done for them."""

    def __init__(self, limiter: RateLimiter, end_users: EndUsers, defaults: RequestRates) -> None:
        self._limiter = limiter
        self._end_users = end_users
        self._defaults = defaults

    def admit(self, caller: Caller) -> Sequence[Allowance]:
        """Count one request; what is left of each limit that there is.

        Raises:
            RateLimitedError: one of them is used up; the request counts against none.
        """
        limits = self._limits(caller)
        if not limits:
            return ()
        allowances = self._limiter.take(limits)
        if any(allowance.retry_after for allowance in allowances):
            raise RateLimitedError(allowances)
        return allowances

    def _limits(self, caller: Caller) -> list[RateLimit]:
        app_id, configured = caller.app.app_id, caller.app.configuration.limits
        per_key = configured.requests_per_minute or self._defaults.per_key
        per_user = configured.user_requests_per_minute or self._defaults.per_user
        limits = [RateLimit("key", f"{app_id} {caller.kind}", per_key)] if per_key else []
        if per_user and caller.user is not None:
            limits.append(RateLimit("user", self._end_users.lookup(app_id, caller.kind, caller.user), per_user))
        return limits
