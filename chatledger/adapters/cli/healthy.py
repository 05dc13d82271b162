"""Whether the server or worker of this data folder answers, for the health checks of containers.

``python -m chatledger.adapters.cli.healthy`` exits with 0 if so. It is run every few seconds for as long as a container
lives, so it imports nothing that takes long.
"""

import os
import socket
import sys

SECONDS_TO_ANSWER = 3.0


def main() -> None:
    """Ping at the control socket; the reason to standard error if nobody answers."""
    folder = os.environ.get("CHATLEDGER_DATA_DIR", "chatledger-data")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SECONDS_TO_ANSWER)
            connection.connect(os.path.realpath(f"{folder}/control.sock"))
            connection.sendall(b'{"type":"ping"}\n')
            with connection.makefile("rb") as lines:
                answer = lines.readline()
    except OSError as error:
        sys.exit(f"no answer: {error}")
    if b'"outcome"' not in answer:
        sys.exit("no answer")


if __name__ == "__main__":
    main()
