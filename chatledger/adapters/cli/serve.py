"""``chatledger serve``: the server, from its first line to its last."""

import asyncio
import logging
import sys
from functools import partial

from chatledger.adapters.cli.console import CommandFailedError
from chatledger.adapters.cli.daemon import StopSignals, drain, run_daemon, say_ready, taking_orders, until_told_to_end
from chatledger.adapters.cli.first_start import make_first_credentials
from chatledger.adapters.http.app import create_http_app
from chatledger.adapters.http.server import ServerError, serving
from chatledger.adapters.http.settings import HttpSettings
from chatledger.adapters.http.shutdown import Shutdown
from chatledger.bootstrap import open_chatledger
from chatledger.server_settings import ServerSettings
from chatledger.version import __version__

log = logging.getLogger(__name__)


def serve(settings: ServerSettings, *, with_worker: bool, as_json: bool) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.

    Raises:
        CommandFailedError: the address cannot be served.
        SettingsProblemError: a folder that the settings name cannot be made, or not be written to.
        StoreBusyError: another server has the store or the data folder open.
        SchemaError: the store is not of this release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    return run_daemon(partial(_serve, settings, with_worker=with_worker, as_json=as_json))


async def _serve(settings: ServerSettings, stop: StopSignals, *, with_worker: bool, as_json: bool) -> None:
    async with open_chatledger(settings, with_worker=with_worker) as running:
        credentials = await make_first_credentials(running, settings.data_dir)
        shutdown = Shutdown()
        app = create_http_app(running.application, _http_settings(settings), running.writer.require_writable, shutdown)
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
                async with taking_orders(running, settings, url):
                    if credentials is not None and sys.stdout.isatty() and not as_json:
                        print(credentials, flush=True)
                    if running.worker is None and not settings.is_shared:
                        log.warning("no worker runs here: messages stay queued until a server with workers runs")
                    say_ready(f"at {url}", settings, as_json=as_json, url=url)
                    await until_told_to_end(running, stop)
                    if settings.drain_delay:
                        log.info("not ready any more: new work is let in for another %g s", settings.drain_delay)
                        shutdown.leaving.set()
                        await running.grace.wait_for(asyncio.sleep(settings.drain_delay))
                    shutdown.draining.set()
                    log.info("draining")
                    await running.grace.wait_for(shutdown.until_settled())
                    await drain(running, settings)
        except ServerError as error:
            raise CommandFailedError(str(error)) from error
        log.info("the server has stopped")


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
