"""What was answered at each moment of a random history is what ``as_of`` that moment answers ever after."""

from collections import Counter
from typing import Any

import pytest

from chatledger.application.as_of import AsOf
from chatledger.application.errors import ApplicationError
from chatledger.application.ledger.envelope import from_microseconds
from chatledger.application.ports.storage import Head
from tests.properties.conftest import Place
from tests.properties.world import PEOPLE, Question, World

STEPS, QUESTIONS = 20, 2
"""Of each history: its moments, and how many questions of each kind are asked at each of them."""


async def answer_to(question: Question, as_of: AsOf | None = None) -> Any:
    try:
        return await question(as_of)
    except ApplicationError as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.audit
def test_as_of_a_moment_is_what_was_answered_then(place: Place, pytestconfig: pytest.Config) -> None:
    done, seen = Counter[str](), Counter[str]()

    async def play(seed: int) -> None:
        world = World(place, seed)
        copies: list[tuple[Head, list[tuple[Question, Any]]]] = []
        for number in range(STEPS):
            await (world.begin() if number < len(PEOPLE) else world.step())
            asked = world.questions(QUESTIONS)
            copies.append((await place.store.ledger.head(), [(each, await answer_to(each)) for each in asked]))
        try:
            await compare(world, copies, seed)
        finally:
            done.update(world.done)
            await world.scratches.close()

    async def compare(world: World, copies: list[tuple[Head, list[tuple[Question, Any]]]], seed: int) -> None:
        last_of_its_time = {head.recorded_at: head.position for head, _ in copies}
        for head, answers in copies:
            by_time = last_of_its_time[head.recorded_at] == head.position and world.dice.random() < 0.5
            as_of: AsOf = from_microseconds(head.recorded_at) if by_time else head.position
            for question, answer in answers:
                assert await answer_to(question, as_of) == answer, (seed, head, as_of, question)
                seen["by time" if by_time else "by position"] += 1
                seen["refused" if isinstance(answer, str) else "answered"] += 1
                seen["not so any more"] += await answer_to(question) != answer

    first, histories = pytestconfig.getoption("--first-seed"), pytestconfig.getoption("--histories")
    for seed in range(first, first + histories):
        place.runner.run(play(seed))
    assert min(seen[each] for each in ("by time", "by position", "refused", "answered", "not so any more")) > 0, seen
    if histories >= 20:
        wanted = {
            "rename",
            "delete",
            "pin",
            "unpin",
            "rate",
            "withdraw",
            "save",
            "stopped",
            "fail",
            "requeue",
            "complete",
        }
        assert wanted <= done.keys(), done
