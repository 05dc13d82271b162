"""Where servers of tests listen."""

import random
import socket


def free_port() -> int:
    """A port that the system hands to no outgoing connection, so that it stays free while the server is down."""
    for port in random.sample(range(15_000, 30_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")
