"""A disk that can be full to its last byte, while real processes work on it.

Not every machine lets everybody mount. The size of the processes' files can be limited everywhere: then no write goes
through either.
"""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tests.support.postgres import PostgresServer

PAGE = 4096

_MOUNT = 'mount -t tmpfs -o size="$2",mode=700 tmpfs "$1" && echo mounted && exec cat'


class NoDiskError(OSError):
    """Nobody may mount here."""


class Disk(Protocol):
    """Where a data folder is.

    Attributes:
        path: as the processes that are started by ``launcher`` see it.
        here: the same folder, as this process reaches it.
        launcher: stands before the command of a process that is to use the disk.
    """

    path: Path
    here: Path
    launcher: Sequence[str]

    def fill(self, *pids: int) -> None:
        """Take all room that there is away from these processes."""
        ...

    def make_room(self, *pids: int) -> None:
        """Give it back."""
        ...


class SmallDisk:
    """A file system in memory, which only the processes that are started by ``launcher`` see.

    Raises:
        NoDiskError: this machine lets us have none.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._holder = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT, "sh", str(path), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"mounted\n":
            raise NoDiskError(f"no small disk can be had here: {self._end().decode().strip()}")
        self.here = Path(f"/proc/{self._holder.pid}/root{path}")
        pid = str(self._holder.pid)
        self.launcher = ("nsenter", "--preserve-credentials", "--user", "--mount", "--target", pid, "--")

    def fill(self, *_: int) -> None:
        """To the last byte."""
        fill(self.here / "ballast")

    def make_room(self, *_: int) -> None:
        """All that was taken."""
        (self.here / "ballast").unlink(missing_ok=True)

    def give(self, size: int) -> None:
        """So many bytes of what was taken."""
        with (self.here / "ballast").open("r+b") as ballast:
            ballast.truncate(max(0, ballast.seek(0, 2) - size))

    def close(self) -> None:
        self._end()

    def _end(self) -> bytes:
        _, reason = self._holder.communicate()
        return reason


def fill(ballast: Path) -> None:
    """Give all room of a disk to this file."""
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        for size in (64 * PAGE, PAGE, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


class LimitedFiles:
    """A folder, and processes of which no file may become larger than nothing."""

    launcher = ()

    def __init__(self, path: Path) -> None:
        self.path = self.here = path

    def fill(self, *pids: int) -> None:
        """Whatever they write ends in an error."""
        for pid in pids:
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))

    def make_room(self, *pids: int) -> None:
        """Without a limit, or with the one that nobody may lift."""
        for pid in pids:
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


@contextmanager
def no_room_in_files() -> Iterator[None]:
    """Whatever this process writes to a file inside ends in an error."""
    limited, pid = LimitedFiles(Path()), os.getpid()
    limited.fill(pid)
    try:
        yield
    finally:
        limited.make_room(pid)


class DatabaseDisk:
    """A file system in memory that has the data of a PostgreSQL server, where the machine lets us mount one."""

    launcher = ()

    def __init__(self, server: PostgresServer) -> None:
        self.path = self.here = server.data

    def fill(self, *_: int) -> None:
        """To the last byte."""
        fill(self.here / "ballast")

    def make_room(self, *_: int) -> None:
        """All that was taken."""
        (self.here / "ballast").unlink(missing_ok=True)


class LimitedDatabase:
    """A PostgreSQL server of which no file may become larger than nothing."""

    launcher = ()

    def __init__(self, server: PostgresServer) -> None:
        self.path = self.here = server.data
        self._server = server

    def fill(self, *_: int) -> None:
        """Whatever its processes write ends in an error."""
        self._limit("0")

    def make_room(self, *_: int) -> None:
        """For those that are left."""
        self._limit("unlimited")

    def _limit(self, size: str) -> None:
        for pid in (self._server.pid, *self._server.children()):
            # By the server's own account: no other may, in a container not even root.
            command = ["prlimit", f"--pid={pid}", f"--fsize={size}:"]
            subprocess.run(command, **self._server.account, capture_output=True, check=False)


@contextmanager
def disk_of_database(server: PostgresServer, size: int = 112 * 1024 * 1024) -> Iterator[Disk]:
    """Put a running server's data on a disk of so many bytes. It is killed at the end.

    Raises:
        NoDiskError: this machine lets us have none; the server is killed all the same.
    """
    server.kill()
    folder, apart = server.data, server.data.with_name("apart")
    owner = folder.stat()
    folder.rename(apart)
    folder.mkdir()
    options = f"size={size},mode=700,uid={owner.st_uid},gid={owner.st_gid}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        raise NoDiskError(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        subprocess.run(["cp", "-a", f"{apart}/.", folder], check=True)
        shutil.rmtree(apart)
        yield DatabaseDisk(server.start())
    finally:
        server.kill()
        subprocess.run(["umount", folder], check=True)
