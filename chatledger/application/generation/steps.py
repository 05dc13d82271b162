"""The steps of an agent: what it thinks, which tools it calls, what they return and make, as facts of an attempt."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from uuid import UUID, uuid5

import msgspec

from chatledger.application.errors import ApplicationError
from chatledger.application.generation.attempt import Attempt
from chatledger.application.ports.files import BlobsUnavailableError
from chatledger.application.ports.generator import (
    FileMade,
    GeneratorError,
    StepBegan,
    StepEnded,
    ToolCall,
    ToolsReturned,
)
from chatledger.domain.values import AttachedFile, Json, Thought

MAX_OBSERVATION = 32 * 1024
"""Characters of JSON that a step tells of what all its tools have returned."""

MAX_BLANKS = 1_000
"""Characters without ink that are kept until something follows them."""

KeepFile = Callable[[str, bytes], Awaitable[AttachedFile]]
"""Stores a file that a tool made, by its name and content."""
LetStand = Callable[[str], Awaitable[str]]
"""What moderation lets stand of a text."""


class JoinedTexts:
    """The answer of an agent: the texts of its steps, a newline between any two, without blanks at either end.

    It grows by what :meth:`add` returns, which is all that can be known of it so far: blanks wait until something
    follows them.
    """

    def __init__(self) -> None:
        self._has_begun = False
        self._held = ""

    def begin(self) -> None:
        """Let a step begin. One that says nothing leaves no trace."""
        if self._has_begun:
            self._held = "\n"

    def add(self, text: str) -> str:
        """What the answer grows by."""
        text = self._held + text
        grown = text.rstrip()
        self._held = text[len(grown) :][:MAX_BLANKS]
        if not self._has_begun:
            grown = grown.lstrip()
            self._has_begun = bool(grown)
        return grown


class Steps:
    """Each step is one thought, recorded when it begins, when its tools are called, and when they have returned.

    Attributes:
        have_begun: whether there is any.
        have_acted: whether a tool was called.
    """

    def __init__(self, attempt: Attempt, keep_file: KeepFile, let_stand: LetStand) -> None:
        self.have_begun = False
        self.have_acted = False
        self._attempt = attempt
        self._keep_file = keep_file
        self._let_stand = let_stand
        self._thought: Thought | None = None
        self._names: Sequence[str] = ()
        self._files: list[UUID] = []
        self._texts = JoinedTexts()

    def joined(self, text: str) -> str:
        """What of a step's text is to be appended to the answer now."""
        return self._texts.add(text)

    async def note(self, part: StepBegan | StepEnded | FileMade | ToolsReturned) -> None:
        """Put on record what the agent did.

        Raises:
            GeneratorError: a tool made a file that cannot be kept, or there is no verdict on what it was.
            TypeError: the step has not begun.
            ValueError: there are not as many results as there were calls.
        """
        match part:
            case StepBegan():
                await self._begin()
            case StepEnded(thought, calls):
                await self._act(thought, calls)
            case FileMade(name, content):
                await self._attach(name, content)
            case ToolsReturned(results):
                await self._observe(results)

    async def _begin(self) -> None:
        self.have_begun = True
        self._texts.begin()
        position = 1 if self._thought is None else self._thought.position + 1
        # The same in each attempt: whoever follows has the step of a dropped attempt replaced by that of the next.
        thought_id = uuid5(self._attempt.message.id, f"thought {position}")
        self._names = ()
        self._files.clear()
        await self._record(Thought(thought_id=thought_id, position=position))

    async def _act(self, thought: str, calls: Sequence[ToolCall]) -> None:
        self.have_acted = self.have_acted or bool(calls)
        self._names = _distinct(call.tool for call in calls)
        by_name = list(zip(self._names, calls, strict=True))
        changes = {
            "thought": await self._let_stand(thought),
            "tool": ";".join(self._names),
            "tool_labels": {name: call.labels for name, call in by_name},
            "tool_input": await self._told({name: call.arguments for name, call in by_name}) if calls else "",
        }
        await self._record(msgspec.structs.replace(self._current(), **changes))

    async def _attach(self, name: str, content: bytes) -> None:
        try:
            file = await self._keep_file(name, content)
        except ApplicationError as error:
            raise GeneratorError("invalid", f"A tool made a file that cannot be kept: {error}") from error
        except BlobsUnavailableError as error:
            raise GeneratorError("transient", "A file that a tool made cannot be stored right now.") from error
        self._files.append(file.file_id)
        await self._attempt.attach(file)

    async def _observe(self, results: Sequence[Json]) -> None:
        most = MAX_OBSERVATION // max(1, len(results))
        told = [_beginning(result, most) for result in results]
        observation = await self._told(dict(zip(self._names, told, strict=True)))
        await self._record(msgspec.structs.replace(self._current(), observation=observation, files=tuple(self._files)))

    async def _told(self, data: Mapping[str, Json]) -> str:
        """This as JSON; nothing where moderation would leave something out of it, since the rest may be no JSON."""
        text = _json(data)
        return text if await self._let_stand(text) == text else ""

    async def _record(self, thought: Thought) -> None:
        self._thought = thought
        await self._attempt.record_thought(thought)

    def _current(self) -> Thought:
        if self._thought is None:
            raise TypeError("a step that has not begun")
        return self._thought


def _distinct(names: Iterable[str]) -> Sequence[str]:
    """The names of tools as keys of an object: what is called twice in a step is told apart by a number."""
    distinct: list[str] = []
    for name in names:
        key, number = name, 2
        while key in distinct:
            key, number = f"{name} ({number})", number + 1
        distinct.append(key)
    return distinct


def _beginning(result: Json, most: int) -> Json:
    """A result, or the beginning of its JSON where it has more than so many characters."""
    text = msgspec.json.encode(result).decode()
    return result if len(text) <= most else f"{text[:most]}…"


def _json(value: Mapping[str, Json]) -> str:
    return msgspec.json.encode(value).decode()
