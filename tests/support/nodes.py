"""Many nodes: API and worker processes over one PostgreSQL and one queue, each of which may be killed."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from tests.support.process import SERVE, WORKER, ServerProcess, run_json
from tests.support.server import LiveServer, live_server
from tests.support.tls import NO_TLS

BY_POSTGRES = {"CHATLEDGER_QUEUE": "postgres"}


def by_nats(*urls: str) -> dict[str, str]:
    """Settings for a queue at these servers, which are one cluster."""
    return {"CHATLEDGER_QUEUE": "nats", "CHATLEDGER_NATS_URL": ",".join(urls)}


class Nodes:
    """Entering starts them all, leaving stops those that are left. In between each may be killed and started again.

    Args:
        folder: gets a data folder for each node; the files of all are in one of its folders.
        database_url: where the ledger is. It may be empty.
        queue: the settings that name the queue: :data:`BY_POSTGRES` or :func:`by_nats`.
        apis: how many serve the API.
        workers: how many answer and serve nothing.
        apis_work: whether those that serve answer too.
        env: more settings of every node.
        master_key: the key of all of them, where others beside them have it too.

    Attributes:
        apis: those that serve.
        workers: those that answer alone.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        queue: Mapping[str, str],
        *,
        apis: int = 2,
        workers: int = 1,
        apis_work: bool = False,
        env: Mapping[str, str] | None = None,
        master_key: bytes | None = None,
    ) -> None:
        self._folder = folder
        self._master_key = master_key or os.urandom(32)
        self.env = {
            "CHATLEDGER_DATABASE_URL": database_url,
            "CHATLEDGER_DURABILITY": "relaxed",  # the tests' server does not sync
            "CHATLEDGER_FILES_URL": f"file://{folder / 'files'}",
            **queue,
            **(env or {}),
        }
        serving = () if apis_work else ("--no-worker",)
        self.apis = [self._node(f"api-{number}", SERVE, *serving) for number in range(1, apis + 1)]
        self.workers = [self._node(f"worker-{number}", WORKER) for number in range(1, workers + 1)]

    def _node(self, name: str, command: Sequence[str], *arguments: str) -> ServerProcess:
        env = self.env | {"CHATLEDGER_WORKER_NAME": name}
        return ServerProcess(self._folder / name, *arguments, env=env, command=command)

    @property
    def all(self) -> Sequence[ServerProcess]:
        """Whoever serves or answers."""
        return (*self.apis, *self.workers)

    def start(self) -> Self:
        """Give each the same master key, and start them all at once."""
        for node in self.all:
            give_master_key(node.data_folder, self._master_key)
        try:
            with ThreadPoolExecutor(len(self.all)) as starting:
                list(starting.map(ServerProcess.start, self.all))
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """``kill -9`` for all of them."""
        for node in self.all:
            node.kill()

    def run(self, *arguments: str) -> Any:
        """The JSON that a command prints, in the data folder of the first node."""
        return run_json(self.all[0].data_folder, *arguments, env=self.env)

    def new_app(self, *, mode: str = "chat", **script: Any) -> dict[str, str]:
        """An app whose scripted generator does this: its id and its key."""
        given = [part for name, value in script.items() for part in ("--set", f"{name}={value}")]
        made: dict[str, str] = self.run(
            "apps", "create", "--mode", mode, "--name", f"an app for {mode}", "--generator", "scripted", *given
        )
        return made

    def client(self, credential: str, *, of: ServerProcess | None = None, timeout: float = 20.0) -> httpx.AsyncClient:
        """A client of one node, or of all that serve, in turn."""
        return httpx.AsyncClient(
            base_url="http://nodes" if of is None else of.url,
            headers={"Authorization": f"Bearer {credential}"},
            transport=InTurn(self.apis) if of is None else None,
            verify=NO_TLS,
            timeout=timeout,
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Tell all to end, and wait until they have."""
        running = [node for node in self.all if node.is_running]
        for node in running:
            node.signal()
        try:
            for node in running:
                node.wait()
        finally:
            self.kill()


def give_master_key(data_folder: Path, key: bytes) -> None:
    """Make a node's data folder, with nothing but the key in it."""
    data_folder.mkdir(mode=0o700, parents=True)
    file = data_folder / "master.key"
    file.touch(mode=0o600)
    file.write_bytes(key)


class InTurn(httpx.AsyncBaseTransport):
    """Sends each request to the next node, as a balancer does; one that is away is left out."""

    def __init__(self, nodes: Sequence[ServerProcess]) -> None:
        self._nodes = nodes
        self._turns = itertools.cycle(range(len(nodes)))
        self._transport = httpx.AsyncHTTPTransport(verify=NO_TLS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        away: httpx.ConnectError | None = None
        for _ in self._nodes:
            place = httpx.URL(self._nodes[next(self._turns)].url)
            request.url = request.url.copy_with(host=place.host, port=place.port)
            try:
                return await self._transport.handle_async_request(request)
            except httpx.ConnectError as error:
                away = error
        raise away or httpx.ConnectError("there is no node")

    async def aclose(self) -> None:
        await self._transport.aclose()


@contextmanager
def without(node: ServerProcess) -> Iterator[None]:
    """A node is killed, and started again at the end."""
    node.kill()
    yield
    node.start()


@asynccontextmanager
async def live_node(
    folder: Path, database_url: str, queue: Mapping[str, str], **options: Any
) -> AsyncIterator[LiveServer]:
    """A server in this process that answers nothing itself, beside a worker in another."""
    key = os.urandom(32)
    give_master_key(folder / "data", key)
    settings = {name.removeprefix("CHATLEDGER_").lower(): value for name, value in queue.items()}
    if "nats_url" in settings:
        settings["nats_url"] = settings["nats_url"].split(",")
    quiet = {"CHATLEDGER_CHECKPOINT_INTERVAL": "0", "CHATLEDGER_SHUTDOWN_GRACE": "1"}
    beside = Nodes(folder, database_url, queue, apis=0, env=quiet, master_key=key)
    settings |= {"database_url": database_url, "durability": "relaxed", "files_url": beside.env["CHATLEDGER_FILES_URL"]}
    async with live_server(folder / "data", with_worker=False, **settings, **options) as live:
        await asyncio.to_thread(beside.start)
        try:
            yield live
        finally:
            await asyncio.to_thread(beside.stop)
