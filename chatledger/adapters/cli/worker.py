"""``chatledger worker``: a node that answers messages and serves nobody."""

import logging
from functools import partial

from chatledger.adapters.cli.daemon import StopSignals, drain, run_daemon, say_ready, taking_orders, until_told_to_end
from chatledger.bootstrap import open_chatledger
from chatledger.settings import Settings, SettingsProblemError

log = logging.getLogger(__name__)


def work(settings: Settings, *, as_json: bool) -> int:
    """Answer messages until SIGTERM or SIGINT; the exit code.

    Raises:
        SettingsProblemError: there can be no other process, or a folder that the settings name cannot be made, or not
            be written to.
        StoreBusyError: somebody has the store alone, or another node the data folder.
        SchemaError: the store is not of this release.
        MasterKeyError: the master key is missing, or is not the one of the key store.
    """
    if not settings.is_shared:
        raise SettingsProblemError("queue: a worker of its own needs nats or postgres, by which others hand work to it")
    return run_daemon(partial(_work, settings, as_json=as_json))


async def _work(settings: Settings, stop: StopSignals, *, as_json: bool) -> None:
    async with open_chatledger(settings) as running, taking_orders(running, settings, ""):
        say_ready("to answer messages", settings, as_json=as_json, worker=settings.worker_name)
        await until_told_to_end(running, stop)
        await drain(running, settings)
    log.info("the worker has stopped")
