"""Clients of others, as published, against a real server: every call that they have.

What the run sees is docs/compatibility.md; ``--write-compatibility`` writes it anew.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import ROOT, node, npm_package, python_package
from tests.support.databases import NewLedger, settings_of
from tests.support.features import EVERY_FEATURE, HEARD, PNG, SOUND, server_with_provider
from tests.support.server import LiveServer

DRIVERS = Path(__file__).parent / "drivers"
TABLE = ROOT / "docs" / "compatibility.md"
DRIVE_WITHIN = 90.0


@dataclass(frozen=True)
class Client:
    """One client.

    Attributes:
        title: its heading in the table.
        driver: the program that makes its calls.
        packages: it, and what it needs that the tests have not got.
    """

    title: str
    driver: str
    packages: Sequence[str]

    def command(self) -> tuple[Sequence[str | Path], Mapping[str, str]]:
        """How the driver is run, and under which variables."""
        program = DRIVERS / self.driver
        if program.suffix == ".mjs":
            (package,) = self.packages
            name = package.partition("@")[0]
            return (node(), program), {"CLIENT": str(npm_package(package) / "node_modules" / name / "index.js")}
        return (sys.executable, program), {"PYTHONPATH": str(python_package(*self.packages))}


CLIENTS = [
    Client("`dify-client` 0.1.10 for Python, the official one", "official_python.py", ("dify-client==0.1.10",)),
    Client("`dify-client` 2.3.2 for Node.js, the official one", "official_node.mjs", ("dify-client@2.3.2",)),
    Client(
        "`dify-python-sdk` 0.1.16, the official one's newest sources under another name",
        "newest_python.py",
        ("dify-python-sdk==0.1.16", "aiofiles==25.1.0"),
    ),
    Client(
        "`dify-client-python` 1.0.3, which parses strictly",
        "strict.py",
        ("dify-client-python==1.0.3", "httpx-sse==0.4.3"),
    ),
]


@pytest.fixture(scope="module")
async def house(new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Any]]:
    """What every driver is told: where the server is, the keys of its apps, and what to expect of them."""
    with new_ledger() as url:
        folder = tmp_path_factory.mktemp("clients") / "data"
        async with server_with_provider(folder, **settings_of(url)) as server:
            yield await furnished(server)


async def furnished(server: LiveServer) -> dict[str, Any]:
    """A server with an app of each kind, everything in it switched on."""
    script = {"tokens": 3, "title": "Greetings", "suggestions": json.dumps(["Why?", "How?"])}
    keys = {"wrong": "app-" + "x" * 24}
    for mode in ("chat", "completion", "agent-chat"):
        keys[mode] = await server.new_key(mode, configuration=EVERY_FEATURE, **script)
    keys["acting"] = await server.new_key("agent-chat", steps=1, makes_files=True, text="The end. ")
    keys["citing"] = await server.new_key(configuration={"generator": "extractive"})
    return {
        "base_url": f"{server.base_url}/v1",
        "keys": keys,
        "answer": "t0 t1 t2 ",
        "opening_statement": EVERY_FEATURE["opening_statement"],
        "failing": "/script tokens=5 fail_after=3 fail_as=invalid",
        "covered": "How do I stop an answer?",
        "endless": "/script tokens=10000 interval_ms=5",
        "image": PNG.hex(),
        "sound": SOUND.hex(),
        "heard": HEARD,
    }


async def drive(client: Client, house: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run a client's driver to its end; what it told of each call."""
    command, variables = await asyncio.to_thread(client.command)
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **variables, "HOUSE": json.dumps(house)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        told, complaint = await asyncio.wait_for(process.communicate(), DRIVE_WITHIN)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaint.decode()
    return [json.loads(line) for line in told.splitlines()]


def section_of(client: Client, calls: Sequence[Mapping[str, Any]]) -> str:
    """The part of the table that is about one client."""
    rows = [
        f"| `{call['call']}` | {call['how']} | {'not there: ' + call['absent'] if call['absent'] else 'yes'} |"
        for call in calls
    ]
    return "\n".join([f"## {client.title}", "", "| call | how | works |", "| --- | --- | --- |", *rows])


def committed() -> dict[str, str]:
    """The sections of the table as it stands, by their headings; what comes before them is under no heading."""
    parts = re.split(r"^(?=## )", TABLE.read_text(), flags=re.MULTILINE)
    return {part.partition("\n")[0].removeprefix("## ") if part.startswith("## ") else "": part for part in parts}


@pytest.mark.parametrize("client", CLIENTS, ids=[client.driver.partition(".")[0] for client in CLIENTS])
async def test_every_call_of_a_client(client, house, request):
    calls = await drive(client, house)

    faults = [f"{call['call']} ({call['how']}): {call['fault']}" for call in calls if call["fault"]]
    assert not faults, "\n".join(faults)
    section = section_of(client, calls)
    if request.config.getoption("--write-compatibility"):
        sections = committed() | {client.title: section}
        titles = ["", *(known.title for known in CLIENTS if known.title in sections)]
        TABLE.write_text("\n\n".join(sections[title].strip() for title in titles) + "\n")
    assert committed().get(client.title, "").strip() == section, "run it with --write-compatibility"


def test_the_table_is_about_these_clients():
    assert [title for title in committed() if title] == [client.title for client in CLIENTS]
