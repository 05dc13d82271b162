"""How much to measure, where and on what; and empty stores to measure in."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from tests.support.postgres import PostgresServer

Size = Literal["full", "quick", "tiny"]
DatabaseName = Literal["sqlite", "postgres"]
T = TypeVar("T")


class Options(msgspec.Struct, frozen=True):
    """How much to measure, where, on what, and whether to look inside.

    Attributes:
        folder: where the data folders stand while a figure is measured; on the disk that is to be measured.
        postgres: the running server to measure on; SQLite without it.
        profile: where to put profiles, taken by py-spy; none without it.
    """

    folder: Path
    size: Size = "full"
    postgres: PostgresServer | None = None
    profile: Path | None = None

    @property
    def database(self) -> DatabaseName:
        """What is measured on."""
        return "sqlite" if self.postgres is None else "postgres"

    def choose(self, *, full: T, quick: T, tiny: T) -> T:
        """A size for each kind of run. A tiny one only shows that the harness works."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.size]


class Store(msgspec.Struct, frozen=True):
    """A place for a store of its own.

    Attributes:
        folder: its folder, in which the data folder is to be made.
        settings: what tells a chatledger where it is, by their names.
        postmaster: the process of the database's server, where it has one.
    """

    folder: Path
    settings: dict[str, str]
    postmaster: int | None = None

    @property
    def data(self) -> Path:
        """The data folder."""
        return Path(self.settings["data_dir"])

    @property
    def url(self) -> str:
        """Where the ledger is."""
        return self.settings["database_url"]


@contextmanager
def empty_folder(options: Options) -> Iterator[Path]:
    """An empty folder, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="chatledger-bench-", dir=options.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def empty_store(options: Options) -> Iterator[Store]:
    """Room for a new store on the database that is measured, gone at the end."""
    with empty_folder(options) as folder:
        data_dir = str(folder / "data")
        if options.postgres is None:
            yield Store(folder, {"data_dir": data_dir, "database_url": f"sqlite:///{folder}/data/ledger.db"})
            return
        url = options.postgres.fresh_database()
        try:
            yield Store(folder, {"data_dir": data_dir, "database_url": url}, options.postgres.pid)
        finally:
            options.postgres.drop_database(url)
