"""What ``import chatledger`` gives, and what it takes."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import chatledger

SOURCE = Path(chatledger.__file__)

SERVERS = {"litestar", "granian", "uvicorn", "httptools", "uvloop"}
HEAVY = {"sqlalchemy", "cryptography", "alembic", "openai", "psycopg", "eventsourcing", "pydantic_settings", "httpx"}


def loaded_after(code: str, folder: Path) -> set[str]:
    """The packages that are in memory after this code ran in a process of its own."""
    show = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    command = [sys.executable, "-c", f"{code}\n{show}"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(result.stdout))


def test_naming_chatledger_loads_next_to_nothing(tmp_path):
    added = loaded_after("import chatledger", tmp_path) - loaded_after("", tmp_path)
    assert added - sys.stdlib_module_names == {"chatledger"}
    assert not loaded_after("from chatledger import Chatledger", tmp_path) & (SERVERS | HEAVY | {"msgspec", "pydantic"})
    assert not loaded_after("from chatledger import Chatledger, Settings", tmp_path) & (SERVERS | HEAVY)


def test_no_name_loads_a_server(tmp_path):
    loaded = loaded_after("import chatledger\nfor name in dir(chatledger): getattr(chatledger, name)", tmp_path)
    assert "cryptography" in loaded
    assert not loaded & SERVERS


def test_an_open_chatledger_has_loaded_no_server_and_no_provider(tmp_path):
    code = """
import asyncio
from chatledger import AppConfiguration, Chatledger, Settings

async def main():
    for _ in range(2):
        async with Chatledger.open(Settings(data_dir="data")) as ledger:
            made = await ledger.apps.create("chat", "An app", AppConfiguration(generator="extractive"))
            assert (await ledger.messages.ask(made.app_id, "What is a ledger?")).text

asyncio.run(main())
"""
    loaded = loaded_after(code, tmp_path)
    assert "sqlalchemy" in loaded
    assert not loaded & (SERVERS | {"openai", "psycopg", "httpx"})


def test_every_name_is_what_type_checkers_take_it_for():
    """The table that loads names and the imports that checkers read tell the same."""
    tree = ast.parse(SOURCE.read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    told = {}
    for node in checked.body:
        assert isinstance(node, ast.ImportFrom)
        told |= {alias.asname: node.module for alias in node.names}
    assert told == chatledger._HOME_OF
    for name, home in told.items():
        assert getattr(chatledger, name) is getattr(import_module(home), name)
        assert name in dir(chatledger)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'chatledger' has no attribute 'Chatleger'"):
        _ = chatledger.Chatleger
