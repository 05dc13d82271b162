"""Data folders, and messages in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.process import run_json

Talk = Callable[..., dict[str, Any]]


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """Where a chatledger will have its data; not made yet."""
    return tmp_path / "data"


@pytest.fixture
def app(data_folder: Path) -> dict[str, str]:
    """A chat app that says three words, in a store that no server has open."""
    return make_app(data_folder)


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
        answer = httpx.post(
            f"{url}/v1/chat-messages", json=body, headers={"Authorization": f"Bearer {api_key}"}, timeout=30
        )
        assert answer.is_success, answer.text
        result: dict[str, Any] = answer.json()
        return result

    return send
