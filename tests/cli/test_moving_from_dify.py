"""docs/migrating-from-dify.md, done as it says, with a provider on the loopback."""

import asyncio
import re
import shlex
import subprocess
from pathlib import Path

from tests.support.databases import ON_SQLITE
from tests.support.fake_openai import FakeOpenAI, answer
from tests.support.process import ServerProcess, run_command
from tests.support.server import answer_of, events_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migrating-from-dify.md"
CURL_WITHIN = 30.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@ON_SQLITE
async def test_the_page_as_it_stands(tmp_path, database_url):
    data = tmp_path / "data"
    commands, request = blocks("sh")
    (configuration,) = blocks("toml")
    # A title, and perhaps questions, are asked for beside the answer.
    async with FakeOpenAI(*[answer("In ", "Oslo.")] * 4) as provider:
        (tmp_path / "helper.toml").write_text(configuration.replace("https://provider.example/v1", provider.base_url))
        create, listing, serve = [shlex.split(line) for line in commands.splitlines()]

        created = await asyncio.to_thread(run_command, data, *create[1:])
        listed = await asyncio.to_thread(run_command, data, *listing[1:])
        assert (created.returncode, listed.returncode) == (0, 0), created.stderr + listed.stderr
        assert "Helper" in listed.stdout
        assert serve == ["./run"], "what is left to run is the server"
        (key,) = re.findall(r"app-\w{24}", created.stdout)

        server = ServerProcess(data, env={"MY_PROVIDER_KEY": "secret"})
        await asyncio.to_thread(server.start)
        try:
            told = request.replace("http://127.0.0.1:8000", server.url).replace("app-...", key)
            curled = await asyncio.to_thread(
                subprocess.run, ["sh", "-c", told], capture_output=True, text=True, timeout=CURL_WITHIN, check=True
            )
        finally:
            await asyncio.to_thread(server.stop)

    events = events_of(curled.stdout)
    assert answer_of(events) == "In Oslo."
    assert events[-1]["event"] == "message_end"
    assert float(events[-1]["metadata"]["usage"]["total_price"]) > 0
