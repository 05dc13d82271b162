"""API and worker processes over one PostgreSQL and one queue, each a node with a data folder of its own."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import msgspec

from benchmarks.ledgers import create_app, run
from benchmarks.loads import Load, Outcome
from benchmarks.servers import COMMAND, SERVE, Server, drive, node
from benchmarks.stores import Options, Store, empty_store
from tests.support.nats import NatsCluster
from tests.support.nodes import give_master_key

MEASURED_ON = ("postgres",)


class Queue(msgspec.Struct, frozen=True):
    """By what the nodes hand each other work and news.

    Attributes:
        settings: what tells a node of it, by their names.
        servers: the processes of its servers, where it has any.
    """

    name: str
    settings: dict[str, str]
    servers: Sequence[int] = ()

    @property
    def is_nats(self) -> bool:
        """Whether there is a broker."""
        return bool(self.servers)


BY_POSTGRES = Queue("PostgreSQL alone", {"queue": "postgres"})


@contextmanager
def nats_cluster() -> Iterator[Queue]:
    """Three servers of the run's own that keep everything together."""
    with NatsCluster() as cluster:
        settings = {"queue": "nats", "nats_url": ",".join(cluster.urls), "nats_replicas": str(len(cluster.urls))}
        yield Queue(f"NATS ({len(cluster.urls)} servers)", settings, [server.pid for server in cluster.servers])


@contextmanager
def each_queue(options: Options) -> Iterator[list[Queue]]:
    """NATS, and PostgreSQL alone, but for a tiny run: its processes would cost more than it shows."""
    with nats_cluster() as nats:
        yield [nats, *options.choose(full=[BY_POSTGRES], quick=[BY_POSTGRES], tiny=[])]


class Nodes(msgspec.Struct):
    """Nodes that run.

    Attributes:
        store: the ledger of all of them; its settings name the queue.
        apis: those that serve.
        workers: those that only answer.
    """

    store: Store
    queue: Queue
    launcher: Sequence[str]
    master_key: bytes
    api_key: str
    apis: list[Server] = []
    workers: list[Server] = []

    def start(self, name: str, *command: str) -> AbstractContextManager[Server]:
        """One more, with a data folder of its own, or with the one that it had."""
        folder = self.store.folder / name
        if not folder.exists():
            give_master_key(folder, self.master_key)
        settings = self.store.settings | {"data_dir": str(folder), "worker_name": name}
        store = msgspec.structs.replace(self.store, settings=settings)
        return node(store, *command, launcher=self.launcher)

    def drive(self, load: Load) -> Outcome:
        """Put a load on all that serve, in turn; the CPU of each part is told."""
        parts = {
            "API": [] if not self.workers else [server.pid for server in self.apis],
            "workers": [server.pid for server in self.workers],
            "nodes": [] if self.workers else [server.pid for server in self.apis],
            "NATS": list(self.queue.servers),
        }
        parts = {part: pids for part, pids in parts.items() if pids}
        return drive(
            self.apis[0], msgspec.structs.replace(load, ports=[server.port for server in self.apis], parts=parts)
        )


@contextmanager
def nodes(
    options: Options,
    queue: Queue,
    script: dict[str, object],
    *,
    apis: int = 1,
    workers: int = 1,
    launcher: Sequence[str] = COMMAND,
) -> Iterator[Nodes]:
    """On an empty store, with an app whose scripted generator is set so. Without workers, those that serve answer."""
    with empty_store(options) as empty, ExitStack() as running:
        shared = empty.settings | {"files_url": f"file://{empty.folder}/files"}
        by_postgres = msgspec.structs.replace(empty, settings=shared | BY_POSTGRES.settings)
        master_key = os.urandom(32)
        give_master_key(by_postgres.data, master_key)
        api_key = run(lambda: create_app(by_postgres, script))
        store = msgspec.structs.replace(empty, settings=shared | queue.settings)
        started = Nodes(store, queue, launcher, master_key, api_key)
        serve = (*SERVE, "--no-worker") if workers else SERVE
        for number in range(1, apis + 1):
            started.apis.append(running.enter_context(started.start(f"api-{number}", *serve)))
            started.apis[-1].api_key = api_key
        for number in range(1, workers + 1):
            started.workers.append(running.enter_context(started.start(f"worker-{number}", "worker")))
        yield started


def cores(outcome: Outcome) -> dict[str, float]:
    """How many cores each part kept busy."""
    server = {} if outcome.parts_cpu else {"server": outcome.server_cpu}
    seconds = server | outcome.parts_cpu | {"database": outcome.database_cpu, "client": outcome.client_cpu}
    return {part: used / outcome.wall for part, used in seconds.items()}


def told(parts: dict[str, float]) -> str:
    """The cores that each part kept busy, in words."""
    return "cores: " + ", ".join(f"{part} {used:.2f}" for part, used in parts.items())
