"""What the HTTP surface can be told."""

import msgspec

from chatledger.version import __version__


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and intervals. Times are seconds.

    Attributes:
        ping_seconds: how often an open stream says that it is alive.
        max_body_bytes: a larger request body is refused unread.
        max_json_depth: how deep objects and arrays may nest in a request body.
        max_open_streams: how many callers may wait for an answer at once, streaming and blocking together.
        cors_origins: the origins whose pages may read the answers; ``*`` lets any, but without cookies.
        public_url: what links to files begin with; None for what the request says of where it came.
        passport_seconds: how long a visitor's passport is good for.
        requests_per_minute: by each app's key, where the app says nothing of its own; 0 is no limit.
        user_requests_per_minute: the same by each end user.
        version: the release that the welcome and the API description name.
    """

    ping_seconds: float = 10.0
    max_body_bytes: int = 1024 * 1024
    max_json_depth: int = 32
    max_open_streams: int = 10_000
    cors_origins: tuple[str, ...] = ()
    public_url: str | None = None
    passport_seconds: float = 30 * 24 * 3_600.0
    requests_per_minute: int = 0
    user_requests_per_minute: int = 0
    version: str = __version__
