"""Servers that are killed or told to end, and what has to be true of them all the same."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Self

from tests.faults.clients import Place
from tests.support.process import ServerProcess, run_command


class MortalServer:
    """The server of a ledger, again and again. Entering starts it; leaving kills what is left.

    Attributes:
        process: the one that runs, or did last.
        ready_at: when it said that it was ready: seconds since 1970.
    """

    def __init__(self, data_folder: Path, place: Place) -> None:
        self._data_folder = data_folder
        self._place = place
        self.process = ServerProcess(data_folder)
        self.ready_at = 0.0

    async def start(self) -> None:
        """Start the next one, and let clients know where it is."""
        self.process = ServerProcess(self._data_folder)
        await asyncio.to_thread(self.process.start)
        self.ready_at = time.time()
        self._place.open(self.process.url)

    async def kill(self) -> None:
        """``kill -9``; its log has to be without errors up to then."""
        self._place.close()
        died_of = self.process.process.poll()
        assert died_of in {None, -signal.SIGKILL}, f"the server died by itself: exit code {died_of}"
        await asyncio.to_thread(self.process.kill)
        require_no_errors(self.process)

    async def stop(self, grace: float) -> None:
        """Tell it to end, and after so many seconds again: it hands over what has not ended by then."""
        self.process.signal()
        ending = asyncio.create_task(asyncio.to_thread(self.process.wait))
        await asyncio.wait({ending}, timeout=grace)
        self.process.signal()
        assert await ending == 0
        self._place.close()
        require_no_errors(self.process)

    async def die_early(self, seconds: float) -> None:
        """Start, and be killed after so many seconds, ready or not."""
        self.process = ServerProcess(self._data_folder)
        self.process.launch()
        await asyncio.sleep(seconds)
        await self.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


def require_no_errors(server: ServerProcess) -> None:
    """Whatever was done to it from outside, a server has made no mistake of its own."""
    log = server.log.read_text()
    assert " ERROR " not in log, log
    assert " CRITICAL " not in log, log


def check_read_models(data_folder: Path) -> None:
    """They are what a replay of the ledger gives."""
    result = run_command(data_folder, "rebuild", "--check")
    assert result.returncode == 0, result.stdout + result.stderr
