"""A generator that says what it is told to, at the pace and with the failures it is told: for tests and load."""

import asyncio
import shlex
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal

import msgspec

from chatledger.adapters.generator.app_settings import read_settings
from chatledger.application.ports.generator import (
    FileMade,
    Finish,
    GenerationRequest,
    GeneratorError,
    Part,
    SettingsError,
    StepBegan,
    StepEnded,
    Text,
    TokenCount,
    ToolCall,
    ToolsReturned,
)
from chatledger.application.ports.text_model import TextModel, TextRequest

COMMAND = "/script"

_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Failure = Literal["transient", "quota", "credentials", "invalid", "internal"]
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]


class ScriptedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it says.

    Attributes:
        tokens: how many numbered words, ``t0 t1 t2 ...``, each followed by a space.
        interval_ms: time from one token to the next.
        first_token_ms: time before the first.
        text: said word by word instead of numbered words.
        vary_by_attempt: attempt 2 says ``a2t0 a2t1 ...``, so that a splice of two attempts shows.
        fail_after: how many tokens come before a failure.
        fail_as: the kind of the failure; none without it.
        fail_times: how many attempts fail; all, without it.
        title: what it replies where a conversation is to be named.
        suggestions: what it replies where questions to ask next are wanted.
        text_ms: time until such a reply.
        text_fail_as: the kind of the failure that comes instead. With none of title, suggestions and failure it is
            no model that could be asked.
    """

    tokens: _Count = 200
    interval_ms: _Milliseconds = 0
    first_token_ms: _Milliseconds = 0
    text: str | None = None
    vary_by_attempt: bool = False
    fail_after: _Count = 0
    fail_as: _Failure | None = None
    fail_times: _Count | None = None
    steps: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    tool_ms: _Milliseconds = 0
    makes_files: bool = False
    title: str | None = None
    suggestions: str | None = None
    text_ms: _Milliseconds = 0
    text_fail_as: _Failure | None = None


class ScriptedGenerator:
    """A query that begins with ``/script key=value ...`` overrides the app's settings for its own message."""

    name = "scripted"
    repeatable = True

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse what the generator would not understand.

        Raises:
            SettingsError: the setting and the reason.
        """
        read_settings(ScriptedSettings, settings)

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The app's settings, and on top of them those of the query.

        Raises:
            SettingsError: the query asks for settings that do not exist.
        """
        if query != COMMAND and not query.startswith(f"{COMMAND} "):
            return settings
        merged = dict(settings) | dict(_overrides(query))
        read_settings(ScriptedSettings, merged)
        return merged

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        """Say it.

        Raises:
            GeneratorError: where the script says so.
        """
        script = read_settings(ScriptedSettings, request.settings)
        fails = script.fail_as is not None and (script.fail_times is None or request.attempt <= script.fail_times)
        loop = asyncio.get_running_loop()
        for step in range(1, script.steps + 1):
            async with aclosing(_act(script, request.attempt, step)) as parts:
                async for part in parts:
                    yield part
        if script.steps:
            yield StepBegan()
        due = loop.time() + script.first_token_ms / 1000
        is_paced = script.first_token_ms > 0 or script.interval_ms > 0
        said, words = 0, list[str]()
        for token in _tokens(script, request.attempt):
            if fails and said >= script.fail_after:
                break
            if is_paced and due > loop.time():
                await asyncio.sleep(due - loop.time())
            if script.steps:
                words.append(token)
            yield Text(token)
            due += script.interval_ms / 1000
            said += 1
        if fails and script.fail_as is not None:
            raise GeneratorError(script.fail_as, f"scripted failure: {script.fail_as}")
        if script.steps:
            yield StepEnded("".join(words))
        yield TokenCount(len(request.query.split()), said)
        yield Finish("stop")

    def text_model(self, settings: Mapping[str, Any]) -> TextModel | None:
        """What the settings have it reply, if they do.

        Raises:
            SettingsError: the setting and the reason.
        """
        script = read_settings(ScriptedSettings, settings)
        if script.title is script.suggestions is script.text_fail_as is None:
            return None
        return partial(_reply, script)

    async def close(self) -> None:
        """Nothing is held."""


async def _reply(script: ScriptedSettings, request: TextRequest) -> str:
    await asyncio.sleep(script.text_ms / 1000)
    if script.text_fail_as is not None:
        raise GeneratorError(script.text_fail_as, f"scripted failure: {script.text_fail_as}")
    reply = script.title if request.purpose == "title" else script.suggestions
    return reply or ""


async def _act(script: ScriptedSettings, attempt: int, step: int) -> AsyncGenerator[Part, None]:
    word = f"a{attempt}s{step} " if script.vary_by_attempt else f"s{step} "
    yield StepBegan()
    yield Text(word)
    yield StepEnded(word, (ToolCall(tool="script", arguments={"step": step}, labels={"en_US": "Script"}),))
    await asyncio.sleep(script.tool_ms / 1000)
    if script.makes_files:
        yield FileMade(f"step-{step}.txt", f"made in step {step}\n".encode())
    yield ToolsReturned((step,))


def _overrides(query: str) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(query)[1:]
    except ValueError as error:
        raise SettingsError(f"{COMMAND}: {error}") from error
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise SettingsError(f"{COMMAND}: {word!r} is not key=value")
        yield name, value


def _tokens(script: ScriptedSettings, attempt: int) -> Iterator[str]:
    if script.text is not None:
        words = script.text.split(" ")
        yield from (f"{word} " for word in words[:-1])
        if words[-1]:
            yield words[-1]
        return
    prefix = f"a{attempt}t" if script.vary_by_attempt else "t"
    for number in range(script.tokens):
        yield f"{prefix}{number} "
