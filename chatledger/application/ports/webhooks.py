"""Webhooks: sending to an endpoint that may be anything, and what is on record of how far each was told."""

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

Unsent = Literal["address_refused", "unreachable", "timeout", "broken"]
"""Why there is no reply: nobody may send there; nobody listens there; it took too long; it is no HTTP."""


class NotSentError(Exception):
    """There is no reply. Whether the body arrived nobody knows."""

    def __init__(self, reason: Unsent, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason: Unsent = reason


class AddressRefusedError(NotSentError):
    """Nobody may send there: the host's name leads to an address that is not public, or nowhere. Nothing was sent.

    The text is for whoever registers the endpoint.
    """

    def __init__(self, detail: str) -> None:
        super().__init__("address_refused", detail)


class Reply(msgspec.Struct, frozen=True):
    """What an endpoint said. Its words are of no interest.

    Attributes:
        retry_after: seconds for which it wants to be left alone.
    """

    status: int
    retry_after: float | None = None

    @property
    def is_success(self) -> bool:
        """Whether the endpoint has taken it."""
        return 200 <= self.status < 300


class WebhookSender(Protocol):
    """Sends to addresses that somebody else chose.

    It sends to public addresses alone, and to those that the server's operator allows: it connects to the very address
    that it has checked. Without TLS it sends to the latter only. It follows no redirect.
    """

    async def require_allowed(self, url: str) -> None:
        """Let a URL pass that something may be sent to, as its host's name is resolved now.

        Raises:
            AddressRefusedError: it may not.
        """
        ...

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST a body, within a time limit.

        Raises:
            NotSentError: there is no reply.
        """
        ...

    async def close(self) -> None:
        """Give every connection back."""
        ...
