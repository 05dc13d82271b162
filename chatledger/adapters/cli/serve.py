"""``chatledger serve``: the server, from its first line to its last."""

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Self

import uvloop

from chatledger.adapters.cli.console import SUCCESS, CommandFailedError
from chatledger.adapters.cli.control import ControlSocket
from chatledger.adapters.cli.first_start import make_first_credentials
from chatledger.adapters.cli.orders import Orders, ServerInfo
from chatledger.adapters.http.app import create_http_app
from chatledger.adapters.http.server import ServerError, serving
from chatledger.adapters.http.settings import HttpSettings, Shutdown
from chatledger.application.fault_report import describe
from chatledger.bootstrap import Running, open_chatledger
from chatledger.server_settings import ServerSettings
from chatledger.version import __version__

log = logging.getLogger(__name__)

SECONDS_TO_CLOSE = 10.0
"""What the process has after the grace, at the very most."""

GARBAGE_THRESHOLDS = 50_000, 20, 50
"""A request makes hundreds of objects that die young and in no cycle: it is enough to look for cycles seldom."""


def serve(settings: ServerSettings, *, with_worker: bool, as_json: bool) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.

    Raises:
        CommandFailedError: the address cannot be served.
        SettingsProblemError: a folder that the settings name cannot be made, or not be written to.
        StoreBusyError: another server has the store open.
        SchemaError: the store is not of this release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    _log_to_stderr()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, with_worker=with_worker, as_json=as_json))
    return SUCCESS


async def _serve(settings: ServerSettings, *, with_worker: bool, as_json: bool) -> None:
    with _StopSignals() as stop:
        async with open_chatledger(settings, with_worker=with_worker) as running:
            credentials = await make_first_credentials(running, settings.data_dir)
            shutdown = Shutdown()
            app = create_http_app(
                running.application, _http_settings(settings), running.writer.require_writable, shutdown
            )
            try:
                async with serving(
                    app,
                    host=settings.host,
                    port=settings.port,
                    max_open_streams=settings.max_open_streams,
                    kind=settings.http_server,
                    on_end=stop.is_asked.set,
                    grace=running.grace,
                ) as port:
                    url = _url(settings.host, port)
                    orders = Orders(running, ServerInfo(os.getpid(), url, __version__))
                    async with ControlSocket(orders).listen(settings.data_dir):
                        if credentials is not None and sys.stdout.isatty() and not as_json:
                            print(credentials, flush=True)
                        if running.worker is None:
                            log.warning("no worker runs here: messages stay queued until a server with workers runs")
                        _say_ready(url, settings, as_json=as_json)
                        _collect_garbage_from_now_on()
                        await stop.is_asked.wait()
                        stop.at_the_second(running.grace.end)
                        _end_at_last(running.grace.seconds + SECONDS_TO_CLOSE)
                        await _drain(running, shutdown)
            except ServerError as error:
                raise CommandFailedError(str(error)) from error
            log.info("the server has stopped")


async def _drain(running: Running, shutdown: Shutdown) -> None:
    """No new messages; what runs or is waited for ends, or is handed over; then its followers get what there is."""
    log.info("draining, for up to %g s", running.grace.seconds)
    shutdown.draining.set()
    if running.worker is not None:
        await running.worker.drain(running.grace)
    running.application.following.close()


def _end_at_last(seconds: float) -> None:
    """End the process then, whatever hangs: there is no moment at which the ledger is not whole."""

    def end() -> None:
        log.warning("something hangs: the process ends without it")
        os._exit(SUCCESS)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _http_settings(settings: ServerSettings) -> HttpSettings:
    return HttpSettings(
        ping_seconds=settings.ping_interval,
        max_body_bytes=settings.max_body_bytes,
        max_json_depth=settings.max_json_depth,
        max_open_streams=settings.max_open_streams,
        requests_per_minute=settings.requests_per_minute,
        user_requests_per_minute=settings.user_requests_per_minute,
        cors_origins=settings.cors_origins,
        public_url=settings.public_url,
        passport_seconds=settings.passport_lifetime,
        version=__version__,
    )


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _collect_garbage_from_now_on() -> None:
    """What stands by now stays: no collection need look at it again."""
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()


def _say_ready(url: str, settings: ServerSettings, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"event": "ready", "url": url}), flush=True)
    else:
        print(f"chatledger {__version__} is ready at {url}, data in {settings.data_dir.absolute()}", flush=True)
    log.info("ready at %s", url)


class _StopSignals:
    """SIGTERM and SIGINT: the first asks for the end, the second takes the grace from it, the third ends the process.

    Attributes:
        is_asked: somebody wants the server to end.
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
