"""The API does what its OpenAPI document says: schemathesis asks it, well and badly, over a socket."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

from tests.support.databases import ON_SQLITE, settings_of
from tests.support.features import furnish, server_with_provider

HERE = Path(__file__).parent
ASK_WITHIN = 110.0


@ON_SQLITE
async def test_what_the_document_says_is_so(tmp_path: Path, database_url: str | None):
    async with server_with_provider(tmp_path / "data", **settings_of(database_url)) as server:
        await run_schemathesis(f"{server.base_url}/openapi.json", await furnish(server), tmp_path)


async def run_schemathesis(document: str, variables: Mapping[str, str], folder: Path) -> None:
    """Run it to its end; its configuration, and notes of its own, are in the folder."""
    configuration = folder / "schemathesis.toml"
    configuration.write_text(Template((HERE / "schemathesis.toml").read_text()).substitute(variables))
    command = Path(sys.executable).with_name("schemathesis")
    process = await asyncio.create_subprocess_exec(
        command,
        "--no-color",
        "--config-file",
        configuration,
        "run",
        document,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), ASK_WITHIN)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
