"""Counting requests, and telling clients what is left of their limits.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10: ``RateLimit-Policy`` names each limit with its quota
``q`` and window ``w``, ``RateLimit`` what remains of it, ``r``, and the seconds ``t`` until all of it is back.
"""

import math
from collections.abc import Sequence

from chatledger.adapters.http.answers import HttpRequest, add_header
from chatledger.application.caller import Caller
from chatledger.application.errors import RateLimitedError
from chatledger.application.ports.rate_limiter import Allowance
from chatledger.application.rate_limiting import RateLimiting

_COUNTED = "is_counted"


def counted(request: HttpRequest, caller: Caller) -> Caller:
    """The caller, whose request counts from here on: once, however often it is asked about.

    Raises:
        RateLimitedError: one of their limits is used up.
    """
    state = request.scope["state"]
    if _COUNTED not in state:
        state[_COUNTED] = True
        rate_limiting: RateLimiting = request.app.state.rate_limiting
        try:
            _tell(request, rate_limiting.admit(caller))
        except RateLimitedError as refused:
            _tell(request, refused.allowances)
            raise
    return caller


def _tell(request: HttpRequest, allowances: Sequence[Allowance]) -> None:
    if allowances:
        policies = [f'"{left.limit.name}";q={left.limit.requests};w={left.limit.seconds}' for left in allowances]
        states = [f'"{left.limit.name}";r={left.remaining};t={math.ceil(left.reset_after)}' for left in allowances]
        add_header(request, "ratelimit-policy", ", ".join(policies))
        add_header(request, "ratelimit", ", ".join(states))
