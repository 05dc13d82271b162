"""Whoever ends a server of the tests after a test run that was killed."""

import subprocess
from pathlib import Path


class Guard:
    """A shell that waits for the end of the test process, in whatever way, and then does what was left undone.

    Only that end closes the pipe that it reads. Its script gets the server's process and folder as $1 and $2.
    """

    def __init__(self, script: str, pid: int, folder: Path) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", script, "guard", str(pid), str(folder)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Let it do nothing. Before the server ends: it must not find another process under that one's number."""
        self._shell.kill()
        self._shell.communicate()
