"""What the figures share: how much to measure and where, empty stores, and servers as processes of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from benchmarks.loads import Load, Outcome
from tests.support.postgres import PostgresServer

ROOT = Path(__file__).resolve().parent.parent

COMMAND = ("-c", "import sys; from chatledger.adapters.cli.main import main; sys.exit(main())")
READY_WITHIN = 30.0
STOP_WITHIN = 40.0

Size = Literal["full", "quick", "tiny"]
DatabaseName = Literal["sqlite", "postgres"]
T = TypeVar("T")


class Options(msgspec.Struct, frozen=True):
    """How much to measure, where, on what, and whether to look inside.

    Attributes:
        folder: where the data folders stand while a figure is measured; on the disk that is to be measured.
        postgres: the running server to measure on; SQLite without it.
        profile: where to put profiles, taken by py-spy; none without it.
    """

    folder: Path
    size: Size = "full"
    postgres: PostgresServer | None = None
    profile: Path | None = None

    @property
    def database(self) -> DatabaseName:
        """What is measured on."""
        return "sqlite" if self.postgres is None else "postgres"

    def choose(self, *, full: T, quick: T, tiny: T) -> T:
        """A size for each kind of run. A tiny one only shows that the harness works."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.size]


# Stores


class Store(msgspec.Struct, frozen=True):
    """A place for a store of its own.

    Attributes:
        folder: its folder, in which the data folder is to be made.
        settings: what tells a chatledger where it is, by their names.
        postmaster: the process of the database's server, where it has one.
    """

    folder: Path
    settings: dict[str, str]
    postmaster: int | None = None

    @property
    def data(self) -> Path:
        """The data folder."""
        return Path(self.settings["data_dir"])

    @property
    def url(self) -> str:
        """Where the ledger is."""
        return self.settings["database_url"]


@contextmanager
def empty_folder(options: Options) -> Iterator[Path]:
    """An empty folder, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="chatledger-bench-", dir=options.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def empty_store(options: Options) -> Iterator[Store]:
    """Room for a new store on the database that is measured, gone at the end."""
    with empty_folder(options) as folder:
        data_dir = str(folder / "data")
        if options.postgres is None:
            yield Store(folder, {"data_dir": data_dir, "database_url": f"sqlite:///{folder}/data/ledger.db"})
            return
        url = options.postgres.fresh_database()
        try:
            yield Store(folder, {"data_dir": data_dir, "database_url": url}, options.postgres.pid)
        finally:
            options.postgres.drop_database(url)


# Servers


class Server(msgspec.Struct):
    """A server that answers at ``port``.

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
    api_key = create_app(store, script)
    with serve(store, launcher=launcher) as server:
        server.api_key = api_key
        yield server


def create_app(store: Store, script: dict[str, Any]) -> str:
    """The key of a new app, made while no server runs."""
    words = [word for name, value in script.items() for word in ("--set", f"{name}={value}")]
    create = ("apps", "create", "--mode", "chat", "--name", "bench", "--generator", "scripted", *words, "--json")
    created = subprocess.run(
        [sys.executable, *COMMAND, *create],
        cwd=store.folder,
        env=_environment(store.settings),
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(created.stdout)["api_key"]


@contextmanager
def serve(store: Store, *, launcher: Sequence[str] = COMMAND) -> Iterator[Server]:
    """``chatledger serve`` on this store, with default settings otherwise."""
    with _running([*launcher, "serve", "--port", "0", "--json"], store.folder, store.settings) as server:
        server.postmaster = store.postmaster
        yield server


@contextmanager
def bare_asgi() -> Iterator[Server]:
    """The floor: see ``bare_asgi.py``."""
    with _running(["-m", "benchmarks.bare_asgi"], ROOT, {}) as server:
        yield server


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment without what would change the server, and with ``settings``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CHATLEDGER_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return kept | {f"CHATLEDGER_{name.upper()}": value for name, value in settings.items()}


@contextmanager
def _running(arguments: Sequence[str], folder: Path, settings: dict[str, str]) -> Iterator[Server]:
    environment = _environment(settings)
    path = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment | {"PYTHONPATH": path},
            text=True,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        try:
            url = json.loads(_first_line(process, errors))["url"]
            yield Server(process, int(url.rpartition(":")[2]))
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


# Clients


def drive(server: Server, load: Load) -> Outcome:
    """Put a load on a server, from a client that is a process of its own."""
    load = msgspec.structs.replace(
        load, port=server.port, api_key=server.api_key, server_pid=server.pid, postmaster=server.postmaster
    )
    client = subprocess.run(
        [sys.executable, "-m", "benchmarks.client"],
        cwd=ROOT,
        env=_environment({}),
        input=msgspec.json.encode(load),
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    return msgspec.json.decode(client.stdout, type=Outcome)
