"""chatledger as its users run it: in processes of its own.

They are forked off one that has imported everything: each import anew would cost ten times what most commands do.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

START_WITHIN = 30.0
STOP_WITHIN = 20.0
COMMAND_WITHIN = 60.0

COMMAND = (sys.executable, "-m", "chatledger")

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(
    [
        "tests.support.process",
        *(
            f"chatledger.adapters.cli.{name}"
            for name in ("main", "serve", "worker", "apps", "people", "rebuild", "verify")
        ),
        "chatledger.adapters.persistence.postgres",
        "chatledger.adapters.persistence.sqlite",
        "chatledger.adapters.persistence.migrate",
    ]
)


def _run(arguments: Sequence[str], env: Mapping[str, str], cwd: str, stdout: str, stderr: str) -> None:
    """In a process of its own: what the interpreter does for ``python -m chatledger``."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    from chatledger.adapters.cli.main import main

    sys.argv = ["chatledger", *arguments]
    sys.exit(main())


class Forked:
    """A process that runs one command, as far as the tests need it to be like one of ``subprocess``."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, stdout: Path, stderr: Path) -> None:
        self.args = (*COMMAND, *arguments)
        self._process = _FORKING.Process(target=_run, args=(arguments, env, str(cwd), str(stdout), str(stderr)))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._process.exitcode

    def wait(self, within: float | None = None) -> int:
        """Its exit code, once it has ended."""
        self._process.join(within)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.args, within or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def environment(data_folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without any setting of its own; compiled modules are kept, as in an installation."""
    dropped = ("CHATLEDGER_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"CHATLEDGER_DATA_DIR": str(data_folder)} | dict(extra or {})


def run_command(
    data_folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    launcher: Sequence[str] = (),
    within: float = COMMAND_WITHIN,
) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end, in the folder beside its data unless another is named."""
    env, cwd = environment(data_folder, env), cwd or data_folder.parent
    if launcher:
        command = [*launcher, *COMMAND, *arguments]
        return subprocess.run(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
    with tempfile.TemporaryDirectory() as outputs:
        stdout, stderr = Path(outputs, "stdout"), Path(outputs, "stderr")
        process = Forked(arguments, env, cwd, stdout, stderr)
        try:
            code = process.wait(within)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, code, _text(stdout), _text(stderr))


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def run_json(data_folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
    """The JSON that a command prints. It has to succeed."""
    result = run_command(data_folder, *arguments, "--json", env=env)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


SERVE = ("serve", "--port", "0")
WORKER = ("worker",)


class ServerProcess:
    """`chatledger serve` on a free port, or another command that runs on. Entering waits until it says it is ready.

    Attributes:
        url: where it serves.
        ready: the JSON of its first line.
        log: what it writes to stderr, in a file.
    """

    def __init__(
        self,
        data_folder: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        launcher: Sequence[str] = (),
        command: Sequence[str] = SERVE,
    ) -> None:
        self.data_folder = data_folder
        self.log = data_folder.parent / f"{data_folder.name}-{time.monotonic_ns()}.log"
        self.ready: dict[str, Any] = {}
        self._arguments = (*command, "--json", *arguments)
        self._launcher = launcher
        self._env = environment(data_folder, env)
        self._cwd = cwd or data_folder.parent
        self._stdout = self.log.with_suffix(".out")
        self._process: Forked | subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> "Forked | subprocess.Popen[bytes]":
        assert self._process is not None, "not started"
        return self._process

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        self.launch()
        try:
            self.ready = json.loads(self._first_line())
        except BaseException:
            self.kill()
            raise
        return self

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        self.log.touch()
        self._stdout.unlink(missing_ok=True)
        if not self._launcher:
            self._process = Forked(self._arguments, self._env, self._cwd, self._stdout, self.log)
            return
        with self.log.open("ab") as log, self._stdout.open("ab") as stdout:
            command = [*self._launcher, *COMMAND, *self._arguments]
            self._process = subprocess.Popen(
                command, env=self._env, cwd=self._cwd, stdin=subprocess.DEVNULL, stdout=stdout, stderr=log
            )

    def _first_line(self) -> str:
        deadline = time.monotonic() + START_WITHIN
        while "\n" not in (text := _text(self._stdout)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not become ready: {self.log.read_text()}")
            time.sleep(0.01)
        return text.partition("\n")[0]

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, within: float = STOP_WITHIN) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(within)

    def stop(self, within: float = STOP_WITHIN) -> int:
        """End it as a service manager does; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(within)

    def kill(self) -> None:
        """End it as a power cut does: ``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.is_running:
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()
                raise


def until(condition: Any, within: float = 10.0, *, what: str = "the condition") -> Any:
    """The first true value of ``condition()``."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true within {within:g} s"
        time.sleep(0.02)
    return value


def lines_of(text: str) -> Sequence[str]:
    """The lines of an output, without empty ones."""
    return [line for line in text.splitlines() if line.strip()]
