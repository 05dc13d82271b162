"""What every aggregate shares."""

import pytest

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.message import Message
from tests.domain.facts import asked, chunk, started
from tests.domain.specification import AN_ID, state_of


def test_an_aggregate_says_itself_what_its_events_mean() -> None:
    with pytest.raises(NotImplementedError):
        Aggregate.fold(AN_ID, [asked])


def test_folding_further_events_equals_folding_all_at_once() -> None:
    history = [asked, started(1), chunk(1, "a"), chunk(1, "b")]
    for cut in range(len(history) + 1):
        parts = Message.fold(AN_ID, history[:cut]).fold_on(history[cut:])
        assert state_of(parts) == state_of(Message.fold(AN_ID, history))


def test_recorded_events_count_on_from_the_folded_ones_and_are_handed_over_once() -> None:
    message = Message.fold(AN_ID, [asked, started(1)])
    message.append_chunk(1, "a")
    message.append_chunk(1, "b")
    first = message.collect_events()
    message.append_chunk(1, "c")
    assert [(event.originator_id, event.originator_version, event.body) for event in first] == [
        (AN_ID, 3, chunk(1, "a")),
        (AN_ID, 4, chunk(1, "b")),
    ]
    assert [event.originator_version for event in message.collect_events()] == [5]
    assert message.collect_events() == []
