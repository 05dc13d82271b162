"""What every live bus promises."""

import asyncio

import pytest

from chatledger.application.system_clock import new_id
from tests.contracts.items import an_item

SOON = 10.0
"""Longer than any wait for news that comes."""

NOT = 0.02
"""As long as a test waits for news that does not come."""


async def test_a_listener_is_told(bus) -> None:
    message_id = new_id()
    listener = bus.listen(message_id)
    waiting = asyncio.create_task(listener.wait(SOON))
    await asyncio.sleep(0)
    assert not waiting.done()
    bus.publish(an_item(message_id))
    assert await waiting is True


async def test_all_listeners_of_a_message_are_told(bus) -> None:
    message_id = new_id()
    listeners = [bus.listen(message_id) for _ in range(5)]
    bus.publish(an_item(message_id))
    assert await asyncio.gather(*(listener.wait(SOON) for listener in listeners)) == [True] * 5


async def test_news_before_the_wait_are_not_lost_and_told_once(bus) -> None:
    message_id = new_id()
    listener = bus.listen(message_id)
    bus.publish(an_item(message_id))
    bus.publish(an_item(message_id))
    assert await listener.wait(SOON) is True
    assert await listener.wait(NOT) is False


async def test_news_after_a_wait_that_was_given_up_are_not_lost(bus) -> None:
    message_id = new_id()
    listener = bus.listen(message_id)
    waiting = asyncio.create_task(listener.wait(SOON))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    bus.publish(an_item(message_id))
    assert await listener.wait(SOON) is True


async def test_news_at_the_moment_of_giving_up_are_not_lost(bus) -> None:
    message_id = new_id()
    listener = bus.listen(message_id)
    waiting = asyncio.create_task(listener.wait(SOON))
    await asyncio.sleep(0)
    bus.publish(an_item(message_id))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await listener.wait(SOON) is True


async def test_without_news_the_time_runs_out(bus) -> None:
    listener = bus.listen(new_id())
    assert await listener.wait(NOT) is False
    assert await listener.wait(0) is False


async def test_news_of_another_message_are_not_told(bus) -> None:
    listener = bus.listen(new_id())
    bus.publish(an_item())
    assert await listener.wait(NOT) is False


async def test_whoever_listens_to_a_conversation_is_told_of_all_its_messages(bus) -> None:
    conversation_id = new_id()
    listener = bus.listen(conversation_id)
    for _ in range(2):
        bus.publish(an_item(conversation_id=conversation_id))
        assert await listener.wait(SOON) is True
    bus.publish(an_item())
    assert await listener.wait(NOT) is False


async def test_a_terminal_event_does_not_end_listening_to_its_conversation(bus) -> None:
    conversation_id = new_id()
    listener = bus.listen(conversation_id)
    for event in ("MessageCompleted", "MessageCreated"):
        bus.publish(an_item(conversation_id=conversation_id, event=event))
        assert await listener.wait(SOON) is True
    bus.stop_listen(conversation_id, listener)
    bus.publish(an_item(conversation_id=conversation_id))
    assert await listener.wait(NOT) is False


async def test_one_item_is_told_to_those_of_its_message_and_those_of_its_conversation(bus) -> None:
    message_id, conversation_id = new_id(), new_id()
    listeners = [bus.listen(message_id), bus.listen(conversation_id)]
    bus.publish(an_item(message_id, conversation_id=conversation_id))
    assert await asyncio.gather(*(listener.wait(SOON) for listener in listeners)) == [True] * 2


async def test_news_before_listening_are_not_told(bus) -> None:
    message_id = new_id()
    bus.publish(an_item(message_id))
    assert await bus.listen(message_id).wait(NOT) is False


@pytest.mark.parametrize("event", ["MessageCompleted", "MessageStopped", "MessageErrored"])
async def test_a_terminal_event_is_told_and_ends_listening(bus, event: str) -> None:
    message_id = new_id()
    listener = bus.listen(message_id)
    bus.publish(an_item(message_id, event=event))
    assert await listener.wait(SOON) is True
    bus.publish(an_item(message_id))
    assert await listener.wait(NOT) is False
    # Ending it again is no fault, and takes nothing from who listens anew.
    other = bus.listen(message_id)
    bus.stop_listen(message_id, listener)
    bus.publish(an_item(message_id, event="FeedbackGiven"))
    assert await other.wait(SOON) is True


async def test_whoever_stopped_listening_is_not_told(bus) -> None:
    message_id = new_id()
    leaving, staying = bus.listen(message_id), bus.listen(message_id)
    bus.stop_listen(message_id, leaving)
    bus.stop_listen(message_id, leaving)
    bus.publish(an_item(message_id))
    assert await staying.wait(SOON) is True
    assert await leaving.wait(NOT) is False


async def test_all_listeners_can_be_roused(bus) -> None:
    listeners = [bus.listen(new_id()) for _ in range(3)]
    waiting = [asyncio.create_task(listener.wait(SOON)) for listener in listeners]
    await asyncio.sleep(0)
    bus.rouse()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert await listeners[0].wait(NOT) is False


async def test_publishing_waits_for_nobody(bus) -> None:
    message_id = new_id()
    listeners = [bus.listen(message_id) for _ in range(100)]
    for _ in range(1_000):
        # A plain call: it returns before any listener could run.
        assert bus.publish(an_item(message_id)) is None
    assert await listeners[0].wait(SOON) is True


# Between processes


async def test_listeners_of_other_processes_are_told(open_process) -> None:
    message_id, conversation_id = new_id(), new_id()
    async with open_process() as here, open_process() as there:
        listeners = [there.bus.listen(subject_id) for subject_id in (message_id, conversation_id)]
        unconcerned = there.bus.listen(new_id())
        here.bus.publish(an_item(message_id, conversation_id=conversation_id))
        assert await asyncio.gather(*(listener.wait(SOON) for listener in listeners)) == [True] * 2
        assert await unconcerned.wait(NOT) is False


async def test_a_terminal_event_of_another_process_is_told_and_ends_listening(open_process) -> None:
    message_id = new_id()
    async with open_process() as here, open_process() as there:
        listener = there.bus.listen(message_id)
        here.bus.publish(an_item(message_id, event="MessageCompleted"))
        assert await listener.wait(SOON) is True
        there.bus.publish(an_item(message_id))
        assert await listener.wait(NOT) is False


async def test_a_thousand_notices_at_once_reach_other_processes(open_process) -> None:
    message_ids = [new_id() for _ in range(1_000)]
    async with open_process() as here, open_process() as there:
        listeners = [there.bus.listen(message_id) for message_id in message_ids]
        for message_id in message_ids:
            here.bus.publish(an_item(message_id))
        assert all(await asyncio.gather(*(listener.wait(SOON) for listener in listeners)))


async def test_stops_are_observed_by_other_processes_alone(open_process) -> None:
    async with open_process() as here, open_process() as there:
        observed_here, observed_there = asyncio.Queue(), asyncio.Queue()
        here.bus.observe_stops(observed_here.put_nowait)
        there.bus.observe_stops(observed_there.put_nowait)
        stopped = [new_id() for _ in range(3)]
        async with asyncio.timeout(SOON):
            for message_id in stopped:
                here.bus.publish(an_item(message_id, event="AnswerChunkAppended"))
                here.bus.publish(an_item(message_id, event="StopRequested"))
            assert {await observed_there.get() for _ in stopped} == set(stopped)
            # Its own would have come by before this one.
            there.bus.publish(an_item(last := new_id(), event="StopRequested"))
            assert await observed_here.get() == last
        assert observed_there.empty()


async def test_an_observer_of_stops_may_come_late(open_process) -> None:
    async with open_process() as here, open_process() as there:
        follower = there.bus.listen(early := new_id())
        here.bus.publish(an_item(early, event="StopRequested"))
        assert await follower.wait(SOON) is True
        observed = asyncio.Queue()
        there.bus.observe_stops(observed.put_nowait)
        here.bus.publish(an_item(late := new_id(), event="StopRequested"))
        async with asyncio.timeout(SOON):
            assert await observed.get() == late
