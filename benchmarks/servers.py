"""Servers and clients as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.ledgers import create_app, run
from benchmarks.loads import Load, Outcome
from benchmarks.stores import Store

ROOT = Path(__file__).resolve().parent.parent

SERVE = ("serve", "--port", "0")
COMMAND = ("-c", "import sys; from chatledger.adapters.cli.main import main; sys.exit(main())")
READY_WITHIN = 30.0
STOP_WITHIN = 40.0


class Server(msgspec.Struct):
    """A server that answers at ``port``, if it serves.

    Attributes:
        postmaster: the process of its database's server, where it has one.
    """

    process: "subprocess.Popen[str]"
    port: int
    api_key: str = "none"
    postmaster: int | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def chatledger(store: Store, script: dict[str, Any], *, launcher: Sequence[str] = COMMAND) -> Iterator[Server]:
    """``chatledger serve`` on this store, with an app whose scripted generator is set so."""
    api_key = run(lambda: create_app(store, script))
    with serve(store, launcher=launcher) as server:
        server.api_key = api_key
        yield server


@contextmanager
def serve(store: Store, *, launcher: Sequence[str] = COMMAND) -> Iterator[Server]:
    """``chatledger serve`` on this store, with default settings otherwise."""
    with node(store, *SERVE, launcher=launcher) as server:
        yield server


@contextmanager
def bare_asgi() -> Iterator[Server]:
    """The floor: see ``bare_asgi.py``."""
    with _running(["-m", "benchmarks.bare_asgi"], ROOT, {}) as server:
        yield server


def environment(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment without what would change the server, and with ``settings``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CHATLEDGER_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return kept | {f"CHATLEDGER_{name.upper()}": value for name, value in settings.items()}


@contextmanager
def _running(arguments: Sequence[str], folder: Path, settings: dict[str, str]) -> Iterator[Server]:
    variables = environment(settings)
    path = os.pathsep.join(filter(None, [str(ROOT), variables.get("PYTHONPATH")]))
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=variables | {"PYTHONPATH": path},
            text=True,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        try:
            url = json.loads(_first_line(process, errors)).get("url", "")
            yield Server(process, int(url.rpartition(":")[2] or 0))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()


def _first_line(process: "subprocess.Popen[str]", errors: Any) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        process.wait(READY_WITHIN)
        errors.seek(0)
        raise RuntimeError(f"the server did not start: {errors.read()[-2000:]}")
    return line


@contextmanager
def node(store: Store, *command: str, launcher: Sequence[str] = COMMAND) -> Iterator[Server]:
    """``serve`` or ``worker`` as one process of several; a worker has no port."""
    with _running([*launcher, *command, "--json"], store.folder, store.settings) as server:
        server.postmaster = store.postmaster
        yield server


def drive(server: Server, load: Load) -> Outcome:
    """Put a load on a server, from a client that is a process of its own."""
    load = msgspec.structs.replace(
        load,
        ports=load.ports or [server.port],
        api_key=server.api_key,
        server_pid=server.pid,
        postmaster=server.postmaster,
    )
    client = subprocess.run(
        [sys.executable, "-m", "benchmarks.client"],
        cwd=ROOT,
        env=environment({}),
        input=msgspec.json.encode(load),
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    return msgspec.json.decode(client.stdout, type=Outcome)
