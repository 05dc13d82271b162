"""Agents whose worker dies, or is told to go, and agents that are not to act twice."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any
from uuid import UUID

import pytest

from chatledger.application.context import SYSTEM, Context
from chatledger.application.grace import Grace
from chatledger.application.ports.generator import (
    FileMade,
    Finish,
    GeneratorError,
    Part,
    StepBegan,
    StepEnded,
    Text,
    ToolCall,
    ToolsReturned,
)
from chatledger.domain.events import AgentThoughtRecorded
from chatledger.domain.message import Message
from chatledger.domain.values import AttachedFile, Thought
from tests.application.chat import Chat, until

CALL = StepEnded("", (ToolCall(tool="launch", arguments={}),))


class Acting:
    """A host's generator that goes through these parts, and counts how often its tool was called."""

    name = "acting"

    def __init__(self, *parts: Part | Exception | Callable[[], Any], repeatable: bool = True) -> None:
        self.repeatable = repeatable
        self.calls = 0
        self._parts = parts

    def check_settings(self, settings: Any) -> None: ...

    def settings_for(self, query: str, settings: Any) -> Any:
        return settings

    async def generate(self, request: Any) -> AsyncGenerator[Part, None]:
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            if callable(part):
                await part()
                continue
            yield part
            self.calls += part == CALL
        yield Finish("stop")

    async def close(self) -> None: ...


async def begun(chat: Chat, generator: Acting) -> Any:
    chat.app = await chat.new_app("agent-chat", generator.name)
    return await chat.send()


async def ended(chat: Chat, generator: Acting) -> Any:
    sent = await begun(chat, generator)
    await chat.to_the_end(sent)
    return await chat.view(sent.message_id)


async def test_a_take_over_drops_what_the_dead_worker_had_done(quick_leases):
    left = Thought(thought_id=UUID(int=7), position=2, thought="a1s2", tool="script")
    chart = AttachedFile(
        file_id=UUID(int=7), kind="image", transfer_method="tool_file", belongs_to="assistant", name="old.png"
    )
    async with quick_leases(with_worker=False) as chat:
        chat.app = await chat.new_app("agent-chat")
        sent = await chat.send("steps=1 makes_files=true tokens=3 vary_by_attempt=true")
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())

        def half_a_run(staged):
            attempt = staged.aggregate.start_attempt("dead")
            staged.aggregate.append_chunk(attempt, "a1s1")
            staged.aggregate.record_thought(attempt, left)
            staged.aggregate.attach_file(attempt, chart)

        await chat.running.ledger.decide(Message, sent.message_id, half_a_run, context)
        sent.follower.close()
        app = chat.app
    async with quick_leases() as chat:
        chat.app = app
        with chat.application.following.follow(sent.message_id) as follower:
            async for _ in follower.batches():
                pass
        view = await chat.view(sent.message_id)
        assert view.answer == "a2s1\na2t0 a2t1 a2t2"
        assert [(thought.position, thought.thought) for thought in view.thoughts] == [
            (1, "a2s1 "),
            (2, "a2t0 a2t1 a2t2 "),
        ]
        assert [file.name for file in view.answer_files] == ["step-1.txt"]
        assert view.thoughts[0].files == (view.answer_files[0].file_id,)
        recorded = [each.body for each in await chat.events(sent.message_id)]
        assert "a1s2" in [body.thought for body in recorded if isinstance(body, AgentThoughtRecorded)]


@pytest.mark.parametrize(("repeatable", "attempts"), [(False, 1), (True, 3)])
async def test_who_has_acted_is_asked_again_only_if_that_may_be(open_chat, repeatable, attempts):
    busy = GeneratorError("transient", "busy", retry_after=0)
    generator = Acting(StepBegan(), CALL, ToolsReturned((1,)), StepBegan(), busy, repeatable=repeatable)
    async with open_chat(generators=[generator], attempts=3) as chat:
        view = await ended(chat, generator)
    assert (view.state, view.attempt, generator.calls) == ("errored", attempts, attempts)


async def test_who_has_not_acted_yet_is_asked_again_in_any_case(open_chat):
    busy = GeneratorError("transient", "busy", retry_after=0)
    generator = Acting(StepBegan(), busy, repeatable=False)
    async with open_chat(generators=[generator], attempts=3) as chat:
        assert (await ended(chat, generator)).attempt == 3


@pytest.mark.parametrize(("repeatable", "state"), [(False, "errored"), (True, "retrying")])
async def test_a_worker_that_goes_hands_over_only_what_may_be_repeated(open_chat, repeatable, state):
    acted = asyncio.Event()

    async def wait() -> None:
        acted.set()
        await asyncio.sleep(60)

    generator = Acting(StepBegan(), CALL, wait, repeatable=repeatable)
    async with open_chat(generators=[generator]) as chat:
        sent = await begun(chat, generator)
        sent.follower.close()
        await asyncio.wait_for(acted.wait(), 10)
        app = chat.app
    async with open_chat(generators=[generator], with_worker=False) as chat:
        chat.app = app
        assert (await chat.view(sent.message_id)).state == state


@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_worker_may_go_while_what_was_stopped_is_still_cleaning_up(open_chat, repeatable):
    began, is_cleaning, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            is_cleaning.set()
            await may_end.wait()

    generator = Acting(StepBegan(), CALL, work, repeatable=repeatable)
    async with open_chat(generators=[generator]) as chat:
        sent = await begun(chat, generator)
        sent.follower.close()
        await asyncio.wait_for(began.wait(), 10)
        await chat.application.stopping.stop(chat.caller(), sent.task_id)
        await asyncio.wait_for(is_cleaning.wait(), 10)
        asyncio.get_running_loop().call_later(0.05, may_end.set)
        await chat.running.worker.drain(Grace(0))
        assert (await chat.view(sent.message_id)).state == "stopped"


async def test_a_tool_is_not_called_by_who_was_fenced_out(quick_leases):
    begun_once, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun_once.set()
        await go_on.wait()

    generator = Acting(StepBegan(), wait, CALL, ToolsReturned((1,)), repeatable=False)
    async with quick_leases(generators=[generator]) as chat:
        sent = await begun(chat, generator)
        await asyncio.wait_for(begun_once.wait(), 10)
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
        await chat.running.ledger.decide(
            Message, sent.message_id, lambda staged: staged.aggregate.start_attempt("another"), context
        )
        go_on.set()

        async def is_over() -> bool:
            return (await chat.view(sent.message_id)).state == "errored"

        await until(is_over)
        sent.follower.close()
    assert generator.calls == 0


@pytest.mark.parametrize(
    ("parts", "code", "reason"),
    [
        ((CALL,), "internal_server_error", "Internal Server Error"),
        ((StepBegan(), CALL, ToolsReturned((1, 2))), "internal_server_error", "Internal Server Error"),
        ((FileMade("a.txt", "c29tZQ=="),), "internal_server_error", "Internal Server Error"),
        ((StepBegan(), FileMade("a/b", b"")), "completion_request_error", "A tool made a file that cannot be kept"),
        (
            (FileMade("big.txt", b"x" * 1_100_000),),
            "completion_request_error",
            "A tool made a file that cannot be kept",
        ),
    ],
)
async def test_a_step_that_makes_no_sense_ends_its_message_alone(open_chat, parts, code, reason):
    generator = Acting(Text("Well. "), *parts)
    async with open_chat(generators=[generator], file_size_limit=1) as chat:
        view = await ended(chat, generator)
        assert (view.state, view.error_code, view.answer) == ("errored", code, "Well. ")
        assert view.error.startswith(reason)
        assert view.answer_files == ()


async def test_a_step_tells_the_beginning_of_what_is_long(open_chat):
    results = ("x" * 1_000_000, 7)
    calls = StepEnded("", (ToolCall(tool="fetch", arguments={}), ToolCall(tool="count", arguments={})))
    generator = Acting(StepBegan(), calls, ToolsReturned(results), StepBegan(), Text("Done."))
    async with open_chat(generators=[generator]) as chat:
        view = await ended(chat, generator)
    told = json.loads(view.thoughts[0].observation)
    assert (told["fetch"][:4], told["fetch"][-2:], told["count"]) == ('"xxx', "x…", 7)
    assert len(view.thoughts[0].observation) < 33_000
