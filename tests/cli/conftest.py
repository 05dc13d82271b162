"""Data folders, and messages in them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.databases import NewLedger, configure, ledger_of
from tests.support.process import run_json
from tests.support.tls import NO_TLS

Talk = Callable[..., dict[str, Any]]


@pytest.fixture
def data_folder(tmp_path: Path, database_url: str | None) -> Path:
    """Where a chatledger will have its data; not made yet. In PostgreSQL there is an empty ledger already."""
    data_folder = tmp_path / "data"
    configure(data_folder, database_url)
    return data_folder


@pytest.fixture
def app(data_folder: Path) -> dict[str, str]:
    """A chat app that says three words, in a store that no server has open."""
    return make_app(data_folder)


@pytest.fixture(scope="module")
def first_folder(tmp_path_factory: pytest.TempPathFactory, new_ledger: NewLedger) -> Iterator[Path]:
    """The same for all tests of a module, which fills it in a fixture ``used_store``."""
    data_folder = tmp_path_factory.mktemp("first") / "data"
    with new_ledger() as url:
        configure(data_folder, url)
        yield data_folder


@pytest.fixture
def store(used_store: Path, new_ledger: NewLedger, tmp_path: Path) -> Iterator[Path]:
    """A copy of what the module has filled: a data folder, and a ledger of its own."""
    data_folder = tmp_path / "data"
    shutil.copytree(used_store, data_folder)
    with new_ledger(ledger_of(used_store).rpartition("/")[2]) as url:
        configure(data_folder, url)
        yield data_folder


def make_app(data_folder: Path) -> dict[str, str]:
    """A chat app that says three words."""
    scripted = ("--generator", "scripted", "--set", "tokens=3")
    made: dict[str, str] = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "Words", *scripted)
    return made


@pytest.fixture(scope="session")
def talk() -> Talk:
    """Sends one message and waits for its answer."""

    def send(url: str, api_key: str, query: str = "hello", **fields: Any) -> dict[str, Any]:
        body = {"inputs": {}, "query": query, "user": "ann", "response_mode": "blocking"} | fields
        headers = {"Authorization": f"Bearer {api_key}"}
        answer = httpx.post(f"{url}/v1/chat-messages", verify=NO_TLS, json=body, headers=headers, timeout=30)
        assert answer.is_success, answer.text
        result: dict[str, Any] = answer.json()
        return result

    return send
