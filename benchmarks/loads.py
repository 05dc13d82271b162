"""What a client is told to do, and what it tells afterwards."""

import msgspec


class Load(msgspec.Struct, kw_only=True):
    """Rounds of streams that begin together, or one round whose streams begin one after another.

    Attributes:
        path: where to POST.
        streams: how many connections, each with one stream at a time.
        tokens: how many tokens each answer has.
        rounds: how often; the connections are kept.
        warm_up: further rounds before them that do not count.
        ramp: seconds over which the streams of a round begin.
        stamped: whether each token tells when it was due, by the clock that all processes share.
        skip_first: seconds at the beginning of each stamped stream that do not count.
        pause: seconds between two rounds.
        ports: where to connect, in turn.
        server_pid: the process whose CPU is the server's.
        postmaster: the process of the database's server, where there is one.
        parts: more processes whose CPU is told, by what they are.
    """

    path: str = "/v1/chat-messages"
    streams: int
    tokens: int
    rounds: int = 1
    warm_up: int = 0
    ramp: float = 0.0
    stamped: bool = False
    skip_first: float = 0.0
    pause: float = 0.0
    users: int = 8
    timeout: float = 120.0
    ports: list[int] = []
    api_key: str = ""
    server_pid: int = 0
    postmaster: int | None = None
    parts: dict[str, list[int]] = {}

    def port(self, number: int) -> int:
        """Where this stream goes."""
        return self.ports[number % len(self.ports)]


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles, in milliseconds."""

    count: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    most: float = 0.0


class Outcome(msgspec.Struct, kw_only=True):
    """What a client saw. Times are seconds.

    Attributes:
        server_cpu: what the server's process used, all threads, user and system, while the rounds ran.
        database_cpu: the same of the database's own processes, where it has any.
        parts_cpu: the same of the further parts that were named.
        wall: how long the rounds took, without what the client did between them.
        first_token: of each stream, from its request to the first frame with text.
        delays: of each token of a stamped load, from when it was due to its arrival.
    """

    streams: int
    tokens: int
    frames: int
    received_bytes: int
    server_cpu: float
    database_cpu: float
    client_cpu: float
    wall: float
    first_token: Times = Times()
    delays: Times = Times()
    parts_cpu: dict[str, float] = {}
