"""The master key: a file beside the key store, and its successor while that takes over."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chatledger.adapters.keys.cipher import KEY_BYTES
from chatledger.application.ports.keys import SuccessorError
from chatledger.application.ports.storage import StorageUnavailableError

_SUCCESSOR = ".next."


class MasterKeyError(Exception):
    """The master key is missing or is not the one of this key store."""


class MasterKeyFile:
    """What wraps all keys that no other key wraps, with mode 0600; made where there is none.

    A successor lies beside it, under a name of its own, before anything is wrapped by it, and takes its place once
    everything is. Whatever comes between, one of the two opens the key store; whoever opens that finds out which.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def candidates(self) -> Iterator[tuple[Path, bytes]]:
        """What may open the key store, most likely first. The file twice: it may be replaced while one looks.

        Raises:
            MasterKeyError: the file is not there, or does not hold 32 bytes.
        """
        yield self.path, self._read()
        for successor in self._others():
            with suppress(OSError):
                yield successor, successor.read_bytes()
        yield self.path, self._read()

    def make(self) -> None:
        """Make one where there is none. Blocks.

        Raises:
            StorageUnavailableError: there is no room for it.
        """
        if not self.path.exists():
            self.adopt(self.propose())

    def propose(self) -> Path:
        """The file of a key that is to take over: a fresh one, on the disk. Blocks.

        Raises:
            StorageUnavailableError: there is no room for it.
        """
        with _file_errors():
            return self._write_fresh()

    def _write_fresh(self) -> Path:
        fresh = self.path.with_name(f"{self.path.name}{_SUCCESSOR}{os.urandom(8).hex()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        self._sync_folder()
        return fresh

    def adopt(self, successor: Path) -> None:
        """Put the file that opens the key store in place, and remove all that do not. Blocks.

        Raises:
            StorageUnavailableError: that cannot be done now; whoever opens the key store next does it.
        """
        with _file_errors():
            if successor != self.path:
                successor.rename(self.path)
                self._sync_folder()
            for other in self._others():
                other.unlink()

    def _read(self) -> bytes:
        try:
            secret = self.path.read_bytes()
        except FileNotFoundError:
            raise MasterKeyError(f"the master key {self.path} is not there") from None
        if len(secret) != KEY_BYTES:
            raise MasterKeyError(f"{self.path} does not hold a key of {KEY_BYTES} bytes")
        return secret

    def _others(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.name}{_SUCCESSOR}*"))

    def _sync_folder(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class GivenMasterKeyFile(MasterKeyFile):
    """One that the operator has put on each of many nodes, as they will a successor. Nodes write nothing of it.

    The successor lies beside it, named ``master.key.next.`` and whatever tells it from others, on every node before
    the rotation; after it the operator may put it in the place of the former key. Until then the rotation may be
    ordered again, by whoever was not told that it is done.
    """

    def __init__(self, path: Path, *, is_alone: bool = False) -> None:
        super().__init__(path)
        self._present: bytes | None = None
        self._is_alone = is_alone

    def make(self) -> None:
        """Make one if whoever asks is alone: two nodes would make two.

        Raises:
            MasterKeyError: it is not there.
            StorageUnavailableError: there is no room for it.
        """
        if self._is_alone:
            MasterKeyFile(self.path).make()
        self._read()

    def propose(self) -> Path:
        """The one successor that is beside it, or else the present key itself, if it is not in place yet.

        Raises:
            SuccessorError: there is none, or several, or it does not hold 32 bytes.
        """
        with _file_errors():
            others = {path: path.read_bytes() for path in self._others()}
            is_in_place = self.path.exists() and self.path.read_bytes() == self._present
        successors = {path: secret for path, secret in others.items() if secret != self._present}
        if not successors and not is_in_place:
            successors = others
        if len(successors) != 1:
            raise SuccessorError(
                f"put one new master key of {KEY_BYTES} random bytes on each node first, as {self.path}{_SUCCESSOR}*; "
                f"here are {len(successors)}"
            )
        ((successor, secret),) = successors.items()
        if len(secret) != KEY_BYTES:
            raise SuccessorError(f"{successor} does not hold a key of {KEY_BYTES} bytes")
        return successor

    def adopt(self, successor: Path) -> None:
        """Know the present key; the operator may give the file another name.

        Raises:
            StorageUnavailableError: it cannot be read any more.
        """
        with _file_errors():
            self._present = successor.read_bytes()

    def _read(self) -> bytes:
        try:
            return super()._read()
        except MasterKeyError as error:
            raise MasterKeyError(
                f"{error}: each node needs the same one, the file that `chatledger migrate` has made on one of them, "
                f"or {KEY_BYTES} random bytes"
            ) from None


@contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailableError(f"master key: {error}") from error
