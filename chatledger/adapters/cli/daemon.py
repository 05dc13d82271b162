"""What a command has that runs until it is told to end: its signals, its log, its orders and its last moments."""

import asyncio
import gc
import json
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self

from chatledger.adapters.cli.console import SUCCESS
from chatledger.adapters.cli.control import ControlSocket
from chatledger.adapters.cli.orders import Orders, ServerInfo
from chatledger.application.fault_report import describe
from chatledger.bootstrap import Running
from chatledger.settings import Settings
from chatledger.version import __version__

log = logging.getLogger(__name__)

SECONDS_TO_CLOSE = 10.0
"""What the process has after the grace, at the very most."""

GARBAGE_THRESHOLDS = 50_000, 20, 50
"""A request makes hundreds of objects that die young and in no cycle: it is enough to look for cycles seldom."""


class StopSignals:
    """SIGTERM and SIGINT: the first asks for the end, the second takes the grace from it, the third ends the process.

    Attributes:
        is_asked: somebody wants the process to end.
    """

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self._hurry: Callable[[], None] = lambda: None
        self._heard = 0

    def at_the_second(self, hurry: Callable[[], None]) -> None:
        """Call this at the second signal, which may have come already."""
        self._hurry = hurry
        if self._heard >= 2:
            hurry()

    def _hear(self, number: int) -> None:
        self._heard += 1
        self.is_asked.set()
        if self._heard == 2:
            log.info("told again: the grace is over")
            self._hurry()
        elif self._heard > 2:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._hear, number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)


def run_daemon(work: Callable[[StopSignals], Coroutine[Any, Any, None]]) -> int:
    """Run until SIGTERM or SIGINT; the exit code. What goes wrong is logged to stderr."""
    _log_to_stderr()
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(_run(work))
    return SUCCESS


async def _run(work: Callable[[StopSignals], Coroutine[Any, Any, None]]) -> None:
    with StopSignals() as stop:
        await work(stop)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@asynccontextmanager
async def taking_orders(running: Running, settings: Settings, url: str) -> AsyncIterator[None]:
    """Do what commands in this data folder ask for, while inside."""
    orders = Orders(running, ServerInfo(os.getpid(), url, __version__))
    async with ControlSocket(orders).listen(settings.data_dir):
        yield


def say_ready(place: str, settings: Settings, *, as_json: bool, **facts: str) -> None:
    """Print the line that scripts wait for. ``place`` is what a person reads, the facts are JSON's."""
    if as_json:
        print(json.dumps({"event": "ready", **facts}), flush=True)
    else:
        print(f"chatledger {__version__} is ready {place}, data in {settings.data_dir.absolute()}", flush=True)
    log.info("ready %s", place)


async def until_told_to_end(running: Running, stop: StopSignals) -> None:
    """Until then, work; from then on the grace may be taken away, and the process ends whatever hangs."""
    _collect_garbage_from_now_on()
    await stop.is_asked.wait()
    stop.at_the_second(running.grace.end)
    _end_at_last(running.grace.seconds + SECONDS_TO_CLOSE)
    log.info("told to end, with a grace of %g s", running.grace.seconds)


async def drain(running: Running, settings: Settings) -> None:
    """What runs or is waited for ends, or is handed over; then those who follow get what there is.

    Letting no new messages in is up to the caller.
    """
    if running.worker is not None:
        await running.worker.drain(running.grace)
    elif settings.is_shared:
        await running.grace.wait_for(running.audience.until_served())
    running.application.following.close()


def _collect_garbage_from_now_on() -> None:
    """What stands by now stays: no collection need look at it again."""
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()


def _end_at_last(seconds: float) -> None:
    """End the process then, whatever hangs: there is no moment at which the ledger is not whole."""

    def end() -> None:
        log.warning("something hangs: the process ends without it")
        os._exit(SUCCESS)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


# Logging


class OneLineFormatter(logging.Formatter):
    """One line a record. Of an exception it gives the type and the places, not the text: that may quote a message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return super().format(record).replace("\n", " ")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        """What follows the message."""
        return f"[{describe(ei[1])}]"


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("chatledger").setLevel(logging.INFO)
