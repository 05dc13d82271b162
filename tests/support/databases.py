"""Where the ledger of a test is, whichever database it is in."""

import json
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chatledger.application.ledger.projections import READ_MODELS_VERSION

NewLedger = Callable[..., AbstractContextManager[str | None]]

SETTINGS_FILE = "chatledger.toml"

POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)

EACH_DATABASE = ("sqlite", POSTGRES)

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For what only a file can meet with, or what no database has a part in."""

ON_POSTGRES = pytest.mark.parametrize("database", [POSTGRES], indirect=True)
"""For what only a server can meet with."""


def settings_of(url: str | None) -> dict[str, Any]:
    """The settings for a ledger at this URL, or in a file of its own folder. The tests' server does not sync."""
    return {} if url is None else {"database_url": url, "durability": "relaxed"}


def configure(data_folder: Path, url: str | None, **settings: str) -> None:
    """Let commands and servers that run in the folder beside the data find the ledger, and these settings."""
    if url is not None:
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in (settings_of(url) | settings).items()]
        (data_folder.parent / SETTINGS_FILE).write_text("".join(lines))


def ledger_of(data_folder: Path) -> str:
    """The URL of the ledger that goes with a data folder."""
    file = data_folder.parent / SETTINGS_FILE
    settings = tomllib.loads(file.read_text()) if file.exists() else {}
    return str(settings.get("database_url", f"sqlite:///{data_folder / 'ledger.db'}"))


@contextmanager
def connection_to(url: str) -> Iterator[sa.Connection]:
    """A connection beside all others; each statement is a transaction of its own."""
    url = url.replace("postgresql://", "postgresql+psycopg://")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET search_path TO public, public_read_{READ_MODELS_VERSION}")
        yield connection


def change_ledger(data_folder: Path, *statements: str) -> None:
    """Change the ledger behind everybody's back. Each statement has to change something."""
    with connection_to(ledger_of(data_folder)) as connection:
        for statement in statements:
            assert connection.exec_driver_sql(statement).rowcount > 0, statement
