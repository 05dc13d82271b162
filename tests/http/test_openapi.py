"""The API does what its OpenAPI document says: schemathesis asks it, well and badly, over a socket."""

import asyncio
import os
import sys
from pathlib import Path

from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer

HERE = Path(__file__).parent
ASK_WITHIN = 90.0


@ON_SQLITE
async def test_what_the_document_says_is_so(server: LiveServer, tmp_path: Path):
    chat, completion = await server.new_app(tokens=2), await server.new_app("completion", tokens=2)
    keys = {
        "CHAT_KEY": chat.api_key,
        "COMPLETION_KEY": completion.api_key,
        "CHAT_PASSPORT": await server.new_passport(chat.site_code),
        "COMPLETION_PASSPORT": await server.new_passport(completion.site_code),
        "SITE_CODE": chat.site_code,
    }
    command = Path(sys.executable).with_name("schemathesis")
    process = await asyncio.create_subprocess_exec(
        command,
        "--no-color",
        "--config-file",
        HERE / "schemathesis.toml",
        "run",
        f"{server.base_url}/openapi.json",
        env={**os.environ, **keys, "HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE)},
        cwd=tmp_path,  # it leaves notes of its own where it is run
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
