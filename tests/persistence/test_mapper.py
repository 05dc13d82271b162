"""chatledger's aggregates in the library's own event store and repository, in memory and on the ledger."""

import asyncio
from collections.abc import Iterable

import pytest
from eventsourcing.application import Repository
from eventsourcing.persistence import EventStore, IntegrityError, ProcessRecorder
from eventsourcing.popo import POPOProcessRecorder

from chatledger.adapters.persistence.ledger_recorder import LedgerRecorder
from chatledger.adapters.persistence.mapper import LedgerMapper
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.hand_ins import HandIn, NewEvent
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.system_clock import new_id
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from tests.persistence.stores import Store, a_question, running_writer


@pytest.fixture(params=["popo", "sql"])
def recorder(request: pytest.FixtureRequest, store: Store) -> ProcessRecorder:
    return POPOProcessRecorder() if request.param == "popo" else store.recorder()


@pytest.fixture
def event_store(recorder: ProcessRecorder, store: Store) -> EventStore:
    keys = {}

    def key_of(stream_id):
        if stream_id not in keys:
            keys[stream_id] = store.keyring.new_key(None).key_id
        return keys[stream_id]

    return EventStore(LedgerMapper(store.codec, store.clock, new_id, key_of), recorder)


def projected(message: Message | None, envelopes: Iterable[Envelope]) -> Message | None:
    for envelope in envelopes:
        message = (message or Message(envelope.stream_id)).fold_on([envelope.body])
    return message


def answered() -> Message:
    message = Message.create(new_id(), a_question("Who was Luca Pacioli?", inputs={"tone": "dry"}))
    attempt = message.start_attempt("worker-1")
    message.append_chunk(attempt, "A friar, ")
    message.append_chunk(attempt, "and a bookkeeper.")
    message.complete(attempt, Usage(total_tokens=7), "stop", "f" * 64)
    return message


def test_a_message_is_saved_and_loaded(event_store: EventStore) -> None:
    message = answered()
    recorded = message.collect_events()
    event_store.put(recorded)
    found = Repository(event_store).get(message.id, projector_func=projected)
    assert (found.version, found.state, found.answer) == (5, "completed", "A friar, and a bookkeeper.")
    assert found.created == message.created
    envelopes = list(event_store.get(message.id))
    assert [envelope.body for envelope in envelopes] == [event.body for event in recorded]
    assert [envelope.version for envelope in envelopes] == [1, 2, 3, 4, 5]
    assert len({envelope.event_id for envelope in envelopes}) == 5


def test_a_loaded_message_goes_on_and_a_stale_one_conflicts(event_store: EventStore) -> None:
    message = answered()
    event_store.put(message.collect_events())
    repository = Repository(event_store)
    first, second = (repository.get(message.id, projector_func=projected) for _ in range(2))
    first.give_feedback("user", "like", "well said")
    event_store.put(first.collect_events())
    second.give_feedback("user", "dislike", None)
    with pytest.raises(IntegrityError):
        event_store.put(second.collect_events())
    assert repository.get(message.id, projector_func=projected).feedback["user"].content == "well said"
    assert repository.get(message.id, version=5, projector_func=projected).feedback == {}


def test_envelopes_keep_their_id_time_and_key_in_another_store(event_store: EventStore) -> None:
    event_store.put(answered().collect_events() + (other := answered()).collect_events())
    envelopes = list(event_store.get(other.id))
    copy = EventStore(event_store.mapper, POPOProcessRecorder())
    copy.put(envelopes)
    assert list(copy.get(other.id)) == envelopes


def test_what_is_stored_is_sealed_and_opens_under_its_key_only(event_store: EventStore, store: Store) -> None:
    message = answered()
    event_store.put(message.collect_events())
    states = [event.state for event in event_store.recorder.select_events(message.id)]
    assert b'"mode":"chat"' in states[0]
    assert not any(word in state for state in states for word in (b"Pacioli", b"friar", b"dry"))
    store.keyring._cache._known.clear()
    with pytest.raises(KeyDestroyedError):
        list(event_store.get(message.id))


def test_what_is_no_event_of_ours_is_refused(event_store: EventStore) -> None:
    with pytest.raises(TypeError, match="str is not an event of chatledger"):
        event_store.put(["MessageCreated"])


async def test_the_ledger_itself_can_be_followed_with_the_library(store: Store) -> None:
    key, message = store.keyring.new_key(None), answered()
    hand_in = HandIn(
        events=[NewEvent(event, "message", new_id(), key.key_id) for event in message.collect_events()],
        context=1,
        new_keys=[key],
        folded={message.id: message},
    )
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        committed = await writer.hand_in(hand_in)
    mapper = LedgerMapper(store.codec, store.clock, new_id, lambda _: None)
    followed = [mapper.to_domain_event(one) for one in LedgerRecorder(store.reading).select_notifications(None, 10)]
    assert [envelope.body for envelope in followed] == [envelope.body for envelope in committed]
    assert [(one.position, one.event_id, one.recorded_at, one.key_id) for one in followed] == [
        (one.position, one.event_id, one.recorded_at, one.key_id) for one in committed
    ]
