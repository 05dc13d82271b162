"""The events of a conversation, page by page, are those of all its streams in the order of the ledger."""

import pytest

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.queries.fact_pages import FactPages
from tests.properties.conftest import Place
from tests.properties.world import PEOPLE, World

STEPS = 40


@pytest.mark.audit
def test_the_events_of_a_conversation_in_order(place: Place, pytestconfig: pytest.Config) -> None:
    pages = FactPages(place.store.ledger, place.store.codec, place.views)
    came_later = 0

    async def paged(conversation_id, limit: int) -> list[Envelope]:
        found, after, has_more = [], 0, True
        while has_more:
            page, has_more = await pages.conversation(conversation_id, after, limit)
            assert len(page) == limit if has_more else len(page) <= limit
            found += [fact.envelope for fact in page]
            after = found[-1].position
        return found

    async def play(seed: int) -> int:
        world, came_later = World(place, seed), 0
        for number in range(STEPS):
            await (world.begin() if number < len(PEOPLE) else world.step())
        for conversation_id in world.conversations:
            messages = [
                each for each, staged in world.messages.items() if world.conversation_of(staged) == conversation_id
            ]
            streams = [await place.ledger.read(each) for each in (conversation_id, *messages)]
            expected = sorted((one for stream in streams for one in stream), key=lambda one: one.position)
            assert await paged(conversation_id, world.dice.randint(1, 4)) == expected, seed
            assert await paged(conversation_id, 100) == expected, seed
            came_later += len(await place.views.later_events(conversation_id, 0, 100))
        await world.scratches.close()
        return came_later

    first, histories = pytestconfig.getoption("--first-seed"), pytestconfig.getoption("--histories")
    for seed in range(first, first + histories):
        came_later += place.runner.run(play(seed))
    assert came_later
