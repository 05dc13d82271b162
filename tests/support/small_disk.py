"""A disk that can be full to its last byte, while real processes work on it.

Where the machine lets nobody mount, the size of the processes' files is limited instead: no write goes through either.
"""

import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

PAGE = 4096

_MOUNT = 'mount -t tmpfs -o size="$2",mode=700 tmpfs "$1" && echo mounted && exec cat'


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
    """A file system in memory, which only the processes that are started by ``launcher`` see."""

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
            raise OSError(f"no small disk can be had here: {self._end().decode().strip()}")
        self.here = Path(f"/proc/{self._holder.pid}/root{path}")
        pid = str(self._holder.pid)
        self.launcher = ("nsenter", "--preserve-credentials", "--user", "--mount", "--target", pid, "--")

    def fill(self, *_: int) -> None:
        """To the last byte."""
        with (self.here / "ballast").open("ab", buffering=0) as ballast, suppress(OSError):
            for size in (64 * PAGE, PAGE, 1):
                with suppress(OSError):
                    while ballast.write(bytes(size)):
                        pass

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
def small_disk(path: Path, size: int) -> Iterator[Disk]:
    """A disk of so many bytes at an empty folder."""
    try:
        disk = SmallDisk(path, size)
    except OSError:
        yield LimitedFiles(path)
    else:
        try:
            yield disk
        finally:
            disk.close()
