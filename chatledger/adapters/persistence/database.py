"""A database, whichever it is: connections to it, and who may write."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

import sqlalchemy as sa

Durability = Literal["full", "relaxed"]

Wake = Callable[[], None]
"""Called, in a thread of its own, when something was committed by whomever."""

SQLITE = "sqlite:///"


class Database(Protocol):
    """Where a ledger is stored."""

    @property
    def place(self) -> str:
        """Where it is, without any secret."""
        ...

    @property
    def has_one_writer(self) -> bool:
        """Whether what writes can be sure that nobody else did, from its opening to its closing."""
        ...

    def exists(self) -> bool:
        """Whether anything can be there to be read."""
        ...

    def require_free(self, *, as_node: bool = False) -> None:
        """Pass where a server could begin, or a node beside others.

        Raises:
            StoreBusyError: another one has it; the text says who.
            StorageUnavailableError: it cannot be reached.
            SchemaError: it cannot keep what a ledger promises; the text says why.
        """
        ...

    def alone(self) -> AbstractContextManager[sa.Engine]:
        """What writes, for the one server that may run on this ledger.

        Raises:
            StoreBusyError: another one has it; the text says who.
            StorageUnavailableError: it cannot be reached.
            SchemaError: it cannot keep what a ledger promises; the text says why.
        """
        ...

    def as_node(self) -> AbstractContextManager[sa.Engine]:
        """What writes, for one of any number of nodes; while one of them is there, nobody gets the ledger alone.

        Raises:
            StoreBusyError: somebody has it alone; the text says who.
            StorageUnavailableError: it cannot be reached.
            SchemaError: it cannot keep what a ledger promises; the text says why.
        """
        ...

    def shared(self) -> AbstractContextManager[sa.Engine]:
        """What writes, beside other writers where the database lets there be several.

        Raises:
            StoreBusyError: it lets there be one, which is there already.
            StorageUnavailableError: it cannot be reached.
            SchemaError: it cannot keep what a ledger promises; the text says why.
        """
        ...

    def reading(self, connections: int = 4, *, patience: float = 30.0) -> sa.Engine:
        """Connections that cannot write; each transaction sees one snapshot, and waits ``patience`` seconds at most."""
        ...

    def beside(self, name: str) -> sa.Engine:
        """One connection for tables of this name that are no part of the ledger, and may be lost.

        It takes no lock of the ledger's, nor waits for one.
        """
        ...

    def news(self, wake: Wake) -> AbstractContextManager[object]:
        """Call ``wake`` while inside, whenever another process has committed. Some may be missed."""
        ...


def database_at(url: str, durability: Durability = "full") -> Database:
    """The database at a URL: ``sqlite:///file`` or ``postgresql://...``.

    Raises:
        ModuleNotFoundError: the driver of PostgreSQL is not installed.
    """
    if url.startswith(SQLITE):
        from chatledger.adapters.persistence.sqlite import SqliteDatabase  # noqa: PLC0415

        return SqliteDatabase(Path(url.removeprefix(SQLITE)), durability)
    from chatledger.adapters.persistence.postgres import PostgresDatabase  # noqa: PLC0415 - psycopg is an extra

    return PostgresDatabase(url, durability)
