"""chatledger as its users run it: in processes of its own."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

START_WITHIN = 30.0
STOP_WITHIN = 20.0
COMMAND_WITHIN = 60.0

COMMAND = (sys.executable, "-m", "chatledger")


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
    return subprocess.run(
        [*launcher, *COMMAND, *arguments],
        env=environment(data_folder, env),
        cwd=cwd or data_folder.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )


def run_json(data_folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
    """The JSON that a command prints. It has to succeed."""
    result = run_command(data_folder, *arguments, "--json", env=env)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


class ServerProcess:
    """`chatledger serve` on a free port. Entering waits for the line that says it is ready.

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
    ) -> None:
        self.data_folder = data_folder
        self.log = data_folder.parent / f"{data_folder.name}-{time.monotonic_ns()}.log"
        self.ready: dict[str, Any] = {}
        self._arguments = arguments
        self._launcher = launcher
        self._env = environment(data_folder, env)
        self._cwd = cwd or data_folder.parent
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def process(self) -> "subprocess.Popen[bytes]":
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
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._launcher, *COMMAND, "serve", "--port", "0", "--json", *self._arguments],
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def _first_line(self) -> bytes:
        stdout = self.process.stdout
        assert stdout is not None
        readable, _, _ = select.select([stdout], [], [], START_WITHIN)
        line = stdout.readline() if readable else b""
        if not line:
            raise AssertionError(f"the server did not become ready: {self.log.read_text()}")
        return line

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, within: float = STOP_WITHIN) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(within)
        self._close_pipe()
        return code

    def stop(self, within: float = STOP_WITHIN) -> int:
        """End it as a service manager does; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(within)

    def kill(self) -> None:
        """End it as a power cut does: ``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        elif self._process is not None:
            self._close_pipe()


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
