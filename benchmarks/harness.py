"""What the figures share: servers and clients as processes of their own, sizes, medians, and the report."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from benchmarks.loads import Load, Outcome

ROOT = Path(__file__).resolve().parent.parent

COMMAND = ("-c", "import sys; from chatledger.adapters.cli.main import main; sys.exit(main())")
READY_WITHIN = 30.0
STOP_WITHIN = 40.0

Size = Literal["full", "quick", "tiny"]
T = TypeVar("T")


class Options(msgspec.Struct, frozen=True):
    """How much to measure, where, and whether to look inside.

    Attributes:
        folder: where the data folders stand while a figure is measured; on the disk that is to be measured.
        profile: where to put profiles of the server, taken by py-spy; none without it.
    """

    folder: Path
    size: Size = "full"
    profile: Path | None = None

    def choose(self, *, full: T, quick: T, tiny: T) -> T:
        """A size for each kind of run. A tiny one only shows that the harness works."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.size]


class Figure(msgspec.Struct, kw_only=True):
    """One line of the report."""

    name: str
    measured: str
    floor: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None
    detail: dict[str, Any] = {}


# Processes


class Server(msgspec.Struct):
    """A server that answers at ``url``."""

    process: "subprocess.Popen[str]"
    port: int
    api_key: str = "none"

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid


def server_environment(**settings: str) -> dict[str, str]:
    """This process's environment without what would change the server, and with ``settings``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CHATLEDGER_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return kept | {f"CHATLEDGER_{name.upper()}": value for name, value in settings.items()}


@contextmanager
def data_folder(options: Options) -> Iterator[Path]:
    """An empty folder, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="chatledger-bench-", dir=options.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def chatledger(
    folder: Path, script: dict[str, Any], *, launcher: Sequence[str] = COMMAND, **settings: str
) -> Iterator[Server]:
    """``chatledger serve`` on this data folder, with an app whose scripted generator is set so."""
    environment = server_environment(data_dir=str(folder / "data"), **settings)
    words = [word for name, value in script.items() for word in ("--set", f"{name}={value}")]
    create = ("apps", "create", "--mode", "chat", "--name", "bench", "--generator", "scripted", *words, "--json")
    created = subprocess.run(
        [sys.executable, *COMMAND, *create], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE
    )
    with serve(folder / "data", launcher=launcher, **settings) as server:
        server.api_key = json.loads(created.stdout)["api_key"]
        yield server


@contextmanager
def serve(data: Path, *, launcher: Sequence[str] = COMMAND, **settings: str) -> Iterator[Server]:
    """``chatledger serve`` on this data folder."""
    environment = server_environment(data_dir=str(data), **settings)
    with _running([*launcher, "serve", "--port", "0", "--json"], data.parent, environment) as server:
        yield server


@contextmanager
def bare_asgi() -> Iterator[Server]:
    """The floor: see ``bare_asgi.py``."""
    with _running(["-m", "benchmarks.bare_asgi"], ROOT, server_environment()) as server:
        yield server


@contextmanager
def _running(arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> Iterator[Server]:
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


def drive(server: Server, load: Load) -> Outcome:
    """Put a load on a server, from a client that is a process of its own."""
    load = msgspec.structs.replace(load, port=server.port, api_key=server.api_key, server_pid=server.pid)
    client = subprocess.run(
        [sys.executable, "-m", "benchmarks.client"],
        cwd=ROOT,
        env=server_environment(),
        input=msgspec.json.encode(load),
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    return msgspec.json.decode(client.stdout, type=Outcome)


@contextmanager
def profiled(options: Options, server: Server, name: str) -> Iterator[None]:
    """Sample the server while inside, where a profile is wanted and py-spy is there."""
    spy = shutil.which("py-spy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if options.profile is None or spy is None:
        yield
        return
    options.profile.mkdir(parents=True, exist_ok=True)
    output = options.profile / f"{name}.txt"
    sampler = subprocess.Popen(
        [spy, "record", "-f", "raw", "-r", "250", "-d", "600", "-t", "-o", str(output), "-p", str(server.pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.5)
    try:
        yield
    finally:
        sampler.send_signal(signal.SIGINT)
        sampler.wait(60)


# Statistics


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The median, and from where to where the values went."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def median_ratio(values: Sequence[float], floors: Sequence[float]) -> float:
    """The median over pairs that were measured one after the other."""
    return statistics.median(value / floor for value, floor in zip(values, floors, strict=True))


# Report


def table(figures: Sequence[Figure]) -> str:
    """All figures as a Markdown table."""
    verdicts = {True: "met", False: "**missed**", None: ""}
    rows = [("figure", "measured", "floor", "ratio", "goal", "")]
    rows += [
        (
            figure.name,
            figure.measured,
            figure.floor,
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.goal,
            verdicts[figure.met],
        )
        for figure in figures
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])
