"""The group-commit writer on the real store: who fails, who does not, and what the others see."""

import asyncio
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg
import pytest
import sqlalchemy as sa

from chatledger.adapters.keys.keyring import LOOKUP_KEY
from chatledger.application.context import Actor, Context
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.hand_ins import HandIn, NewEvent, NotUniqueError, VersionConflictError
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ledger.writer import LOOK_AGAIN, LOOKS_AT_KEYS, GroupCommitWriter
from chatledger.application.ports.keys import KeyDestroyedError, NewKey
from chatledger.application.ports.storage import Insert, StorageUnavailableError, UniqueGuard
from chatledger.application.system_clock import new_id
from chatledger.domain.aggregate import Recorded
from chatledger.domain.end_user import EndUser
from chatledger.domain.events import AnswerChunkAppended, Event, FeedbackGiven, ModerationHit, StopRequested
from chatledger.domain.message import Message
from tests.persistence.stores import Store, a_question, running_writer
from tests.support.databases import ON_SQLITE

DEADLINE = 10.0

REFUSALS = {"sqlite": sqlite3.IntegrityError, "postgresql": psycopg.errors.UniqueViolation}


def a_context() -> Context:
    return Context(actor=Actor("system"), correlation_id=new_id())


def stop_events(stream_id: UUID, *versions: int) -> list[NewEvent]:
    return [
        NewEvent(Recorded(stream_id, version, StopRequested(by="user")), "message", new_id(), None)
        for version in versions
    ]


def a_hand_in(*events: NewEvent, **options) -> HandIn:
    return HandIn(events=events, **({"context": a_context()} | options))


def simple(stream_id: UUID | None = None, *versions: int, **options) -> HandIn:
    return a_hand_in(*stop_events(stream_id or new_id(), *(versions or (1,))), **options)


@pytest.fixture
async def writer(store: Store) -> AsyncIterator[GroupCommitWriter]:
    async with running_writer(store, asyncio.get_running_loop()) as running:
        yield running


@asynccontextmanager
async def one_group(writer: GroupCommitWriter) -> AsyncIterator[None]:
    """Whatever is handed in inside goes into one commit: the writer's thread is kept busy till the end."""
    may_go_on = threading.Event()
    busy = asyncio.create_task(writer.run_alone(lambda: may_go_on.wait() and None))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        may_go_on.set()
        await busy


async def outcomes(writer: GroupCommitWriter, *hand_ins: HandIn) -> list[object]:
    """The versions that each got, or the error; all in one group."""
    async with one_group(writer):
        futures = [writer.hand_in(hand_in) for hand_in in hand_ins]
    results = await asyncio.gather(*futures, return_exceptions=True)
    return [
        type(result) if isinstance(result, BaseException) else [envelope.position for envelope in result]
        for result in results
    ]


@pytest.fixture
def commits(store: Store) -> list[object]:
    seen: list[object] = []
    sa.event.listen(store.writing, "commit", seen.append)
    return seen


# Work between two commits


async def test_work_between_two_commits_gives_its_result(writer: GroupCommitWriter) -> None:
    assert await writer.run_alone(lambda: 42) == 42


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
async def test_the_writer_survives_whatever_work_between_two_commits_raises(
    writer: GroupCommitWriter, error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(error):
        await writer.run_alone(fail)
    assert [envelope.position for envelope in await writer.hand_in(simple())] == [1]


# Who fails alone


async def test_a_conflict_fails_its_own_hand_in_only(store: Store, writer: GroupCommitWriter, commits: list) -> None:
    taken = new_id()
    await writer.hand_in(simple(taken))
    commits.clear()
    assert await outcomes(writer, simple(), simple(taken), simple(new_id(), 2), simple(new_id(), 1, 3), simple()) == [
        [2],
        VersionConflictError,
        VersionConflictError,
        VersionConflictError,
        [3],
    ]
    assert len(commits) == 1
    assert store.positions() == [1, 2, 3]
    assert writer.head_position == 3


async def test_versions_are_counted_on_top_of_the_hand_ins_before(writer: GroupCommitWriter) -> None:
    stream_id = new_id()
    assert await outcomes(
        writer, simple(stream_id, 1, 2), simple(stream_id, 2), simple(stream_id, 3), simple(stream_id, 4)
    ) == [[1, 2], VersionConflictError, [3], [4]]


async def test_a_hand_in_over_several_streams_is_all_or_nothing(store: Store, writer: GroupCommitWriter) -> None:
    taken, fresh, other = new_id(), new_id(), new_id()
    await writer.hand_in(simple(taken))
    torn = a_hand_in(*stop_events(fresh, 1), *stop_events(taken, 1), *stop_events(other, 1))
    whole = a_hand_in(*stop_events(other, 1), *stop_events(fresh, 1, 2), *stop_events(taken, 2))
    assert await outcomes(writer, torn, whole) == [VersionConflictError, [2, 3, 4, 5]]
    assert store.positions() == [1, 2, 3, 4, 5]


async def test_expected_versions_of_other_streams_are_guards_too(writer: GroupCommitWriter) -> None:
    watched, unborn = new_id(), new_id()
    await writer.hand_in(simple(watched))
    assert await outcomes(
        writer,
        simple(expected={watched: 1, unborn: 0}),
        simple(expected={watched: 0}),
        simple(watched, 2),
        simple(expected={watched: 1}),
        simple(expected={watched: 2}),
        simple(unborn),
        simple(expected={unborn: 0}),
    ) == [[2], VersionConflictError, [3], VersionConflictError, [4], [5], VersionConflictError]


class _Refusing:
    """Projections that cannot take events of some streams."""

    def __init__(self, store: Store, *refused: UUID) -> None:
        self._projections = store.projections
        self._refused = refused

    def changes(self, envelope: Envelope, folded) -> Sequence:
        if envelope.stream_id in self._refused:
            raise ZeroDivisionError
        return self._projections.changes(envelope, folded)


async def test_a_failing_projection_fails_its_own_hand_in_only(store: Store, commits: list) -> None:
    bad, taken = new_id(), new_id()
    async with running_writer(store, asyncio.get_running_loop(), _Refusing(store, bad)) as writer:
        await writer.hand_in(simple(taken))
        assert await outcomes(writer, simple(), simple(bad), simple(taken), simple(), simple(bad, 1)) == [
            [2],
            ZeroDivisionError,
            VersionConflictError,
            [3],
            ZeroDivisionError,
        ]
        assert await outcomes(writer, simple(bad)) == [ZeroDivisionError]
        assert await outcomes(writer, simple()) == [[4]]
    assert store.positions() == [1, 2, 3, 4]
    assert (bad.bytes,) not in store.query("SELECT stream_id FROM streams")


async def test_a_row_that_the_database_refuses_fails_its_own_hand_in_only(
    store: Store, writer: GroupCommitWriter
) -> None:
    key = {"key_hash": "hash", "key_id": new_id(), "app_id": new_id()}
    assert await outcomes(
        writer,
        simple(),
        simple(changes=[Insert("api_keys", key)]),
        simple(changes=[Insert("api_keys", key | {"key_id": new_id()})]),
        simple(),
    ) == [[1], [2], REFUSALS[store.writing.dialect.name], [3]]
    assert store.positions() == [1, 2, 3]


async def test_a_failing_seal_fails_its_own_hand_in_only(store: Store, writer: GroupCommitWriter) -> None:
    def sealed(key_id: UUID | None) -> HandIn:
        return a_hand_in(NewEvent(Recorded(new_id(), 1, AnswerChunkAppended(1, "text")), "message", new_id(), key_id))

    key = store.keyring.new_key(None)
    assert await outcomes(writer, sealed(new_id()), simple(), sealed(None), sealed(key.key_id)) == [
        KeyDestroyedError,
        [1],
        ValueError,
        [2],
    ]


async def test_a_waiter_that_gave_up_harms_nobody(store: Store, writer: GroupCommitWriter) -> None:
    async with one_group(writer):
        futures = [writer.hand_in(simple()) for _ in range(3)]
        futures[1].cancel()
    assert [envelope.position for envelope in await futures[2]] == [3]
    assert store.positions() == [1, 2, 3]


# A stop and text


async def stops_after(
    store: Store, writer: GroupCommitWriter, stored: str, together: str, *, text_is_refused: bool = False
) -> list[object]:
    """What becomes of a stop that was decided on version 1, after ``t``ext and other ``e``vents.

    Those ``together`` with it, decided on the last that is stored, are in its group: each has its outcome too.
    """
    stream_id, key, row = new_id(), store.keyring.new_key(None), {"key_hash": "hash", "app_id": new_id()}
    bodies = {"t": AnswerChunkAppended(1, "text"), "e": ModerationHit(attempt=1, stage="output", action="overridden")}

    def one(version: int, body: Event, **options) -> HandIn:
        return a_hand_in(NewEvent(Recorded(stream_id, version, body), "message", new_id(), key.key_id), **options)

    def a_row() -> list[Insert]:
        return [Insert("api_keys", row | {"key_id": new_id()})]

    await writer.hand_in(one(1, bodies["t"], new_keys=[key], changes=a_row()))
    for version, kind in enumerate(stored, 2):
        await writer.hand_in(one(version, bodies[kind]))
    first, changes = 2 + len(stored), a_row() if text_is_refused else []
    return await outcomes(
        writer,
        *(
            one(first if text_is_refused else version, bodies[kind], changes=changes if kind == "t" else [])
            for version, kind in enumerate(together, first)
        ),
        one(2, StopRequested(by="user")),
    )


@ON_SQLITE
@pytest.mark.parametrize(
    ("stored", "together", "holds"),
    [("t", "", True), ("tt", "tt", True), ("et", "", False), ("te", "t", False), ("t", "et", False), ("", "te", False)],
)
async def test_a_stop_stands_behind_text_and_behind_nothing_else(
    store: Store, writer: GroupCommitWriter, stored: str, together: str, holds: bool
) -> None:
    *_, outcome = await stops_after(store, writer, stored, together)
    assert outcome == ([2 + len(stored + together)] if holds else VersionConflictError)


@pytest.mark.parametrize("together", ["t", "te"])
async def test_a_stop_behind_text_that_is_refused_is_as_it_was_decided(
    store: Store, writer: GroupCommitWriter, together: str
) -> None:
    """In the group it stood behind the text; by itself it is the first, or comes after something else."""
    refused = REFUSALS[store.writing.dialect.name]
    expected = {"t": [refused, [2]], "te": [refused, [2], VersionConflictError]}
    assert await stops_after(store, writer, "", together, text_is_refused=True) == expected[together]


# Unique guards


async def test_a_key_is_taken_once_within_a_group_and_after_it(store: Store, writer: GroupCommitWriter) -> None:
    app_id = new_id()

    def a_person(lookup: str) -> HandIn:
        key = store.keyring.new_key(None)
        person = EndUser.see(new_id(), app_id=app_id, kind="service-api", external_id="ada", lookup=lookup)
        events = [NewEvent(recorded, "end_user", new_id(), key.key_id) for recorded in person.collect_events()]
        return a_hand_in(*events, guards=[UniqueGuard("end_user", (app_id, "service-api", lookup))], new_keys=[key])

    async with one_group(writer):
        futures = [writer.hand_in(a_person(lookup)) for lookup in ("ada", "bob", "ada")]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(result) for result in results] == [list, list, NotUniqueError]
    assert results[2].guard == UniqueGuard("end_user", (app_id, "service-api", "ada"))
    assert await outcomes(writer, a_person("bob"), a_person("eve")) == [NotUniqueError, [3]]
    assert store.query("SELECT lookup FROM end_users ORDER BY created_at, lookup") == [("ada",), ("bob",), ("eve",)]


async def test_a_refused_hand_in_takes_no_key_with_it(writer: GroupCommitWriter) -> None:
    taken, guards = new_id(), [UniqueGuard("api_key", ("hash",))]
    await writer.hand_in(simple(taken))
    assert await outcomes(writer, simple(taken, guards=guards), simple(guards=guards), simple(guards=guards)) == [
        VersionConflictError,
        [2],
        NotUniqueError,
    ]


# The store in trouble


async def test_a_locked_store_fails_all_and_loses_nothing_later(store: Store, writer: GroupCommitWriter) -> None:
    with store.held_by_another():
        assert await outcomes(writer, simple(), simple()) == [StorageUnavailableError] * 2
    assert store.positions() == []
    assert await outcomes(writer, simple(), simple()) == [[1], [2]]


async def test_the_writer_survives_a_store_in_trouble_that_is_taken_away(
    store: Store, writer: GroupCommitWriter
) -> None:
    with store.held_by_another():
        for _ in range(2):  # the second one looks at the store, the next look is later
            assert await outcomes(writer, simple()) == [StorageUnavailableError]
    with store.taken_away():
        store.clock.pass_time(seconds=LOOK_AGAIN)
        with pytest.raises(StorageUnavailableError):
            await asyncio.wait_for(writer.require_writable(), 10)
        assert await outcomes(writer, simple()) == [StorageUnavailableError]
    store.clock.pass_time(seconds=LOOK_AGAIN)
    assert await outcomes(writer, simple()) == [[1]]


class _Panic(BaseException):
    """What native code raises that gave up."""


async def test_the_writer_survives_code_that_panics(store: Store, writer: GroupCommitWriter, monkeypatch) -> None:
    bad = new_id()
    changes, encode = store.projections.changes, store.codec.encode

    def panic_in(work):
        def panicking(*arguments):
            if bad in arguments or getattr(arguments[0], "stream_id", None) == bad:
                raise _Panic
            return work(*arguments)

        return panicking

    places = ((1, "changes", store.projections, changes), (3, "encode", store.codec, encode))
    for first, name, owner, work in places:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, panic_in(work))
            assert await outcomes(writer, simple(), simple(bad), simple()) == [[first], _Panic, [first + 1]]
    assert store.positions() == [1, 2, 3, 4]


async def test_without_durable_keys_nothing_is_written(store: Store, writer: GroupCommitWriter) -> None:
    key = store.keyring.new_key(None)
    events = [NewEvent(Recorded(new_id(), 1, AnswerChunkAppended(1, "text")), "message", new_id(), key.key_id)]
    store.keyring.close()
    assert await outcomes(writer, a_hand_in(*events, new_keys=[key])) == [StorageUnavailableError]
    assert store.positions() == []
    assert await outcomes(writer, simple()) == [[1]]


async def test_a_refused_hand_in_leaves_no_key(store: Store, writer: GroupCommitWriter, tmp_path: Path) -> None:
    taken, kept, left = new_id(), store.keyring.new_key(None), store.keyring.new_key(None)
    await writer.hand_in(simple(taken))
    assert await outcomes(writer, simple(taken, new_keys=[left]), simple(new_keys=[kept])) == [
        VersionConflictError,
        [2],
    ]
    assert durable_keys(tmp_path) == {kept.key_id}


async def test_nobody_counts_on_a_hand_in_whose_keys_have_no_room(store: Store, writer: GroupCommitWriter) -> None:
    key, stream_id, guards = store.keyring.new_key(None), new_id(), [UniqueGuard("api_key", ("hash",))]
    store.keyring.close()
    assert await outcomes(
        writer,
        simple(stream_id, guards=guards, new_keys=[key]),
        simple(stream_id, 2),
        simple(stream_id),
        simple(guards=guards),
    ) == [StorageUnavailableError, VersionConflictError, [1], [2]]


async def test_a_key_store_in_trouble_is_waited_for_before_the_ledgers_lock_is_taken(
    store: Store, writer: GroupCommitWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By each node for itself: under the lock they would wait for each other's waiting."""
    steps, failing, make_durable = list[str](), {"keys": 1, "wait": 0}, store.keyring.make_durable
    for step in ("begin", "commit", "rollback"):
        sa.event.listen(store.writing, step, lambda _, step=step: steps.append(step))

    def note(step: str) -> None:
        steps.append(step)
        if failing[step]:
            failing[step] -= 1
            raise StorageUnavailableError(f"no {step}")

    def bring(keys: Sequence[NewKey]) -> None:
        if keys:
            note("keys")
        make_durable(keys)

    def with_key() -> HandIn:
        return simple(new_keys=[store.keyring.new_key(None)])

    monkeypatch.setattr(store.keyring, "make_durable", bring)
    monkeypatch.setattr(store.keyring, "require_writable", lambda: note("wait"))
    assert await outcomes(writer, with_key(), simple()) == [[1], [2]]
    assert steps == ["begin", "keys", "rollback", "wait", "begin", "keys", "commit"]

    steps.clear()
    failing |= {"keys": 1, "wait": 2}
    assert await outcomes(writer, with_key(), simple()) == [StorageUnavailableError, [3]]
    assert await outcomes(writer, simple()) == [[4]]
    assert await outcomes(writer, with_key(), simple()) == [StorageUnavailableError, [5]]
    assert steps == [
        "begin",
        "keys",
        "rollback",
        "wait",
        "begin",
        "commit",
        *["begin", "commit"],
        "wait",
        "begin",
        "commit",
    ]

    steps.clear()
    failing |= {"keys": 1}
    assert await outcomes(writer, with_key(), simple()) == [StorageUnavailableError, [6]]
    assert await outcomes(writer, with_key()) == [[7]]
    assert await outcomes(writer, with_key()) == [[8]]
    assert steps == ["wait", "begin", "keys", "commit", "wait", "begin", "keys", "commit", "begin", "keys", "commit"]


def durable_keys(folder: Path) -> set[UUID]:
    """Those of the key store's file, but for the one that it always has."""
    with closing(sqlite3.connect(folder / "keys.db")) as file:
        return {UUID(bytes=key_id) for (key_id,) in file.execute("SELECT key_id FROM keys")} - {LOOKUP_KEY}


async def test_what_needs_a_destroyed_key_is_refused_alone(
    store: Store, writer: GroupCommitWriter, tmp_path: Path
) -> None:
    """Sealed under it, begun under it before it was destroyed, or begun under it since."""

    def sealed(key_id: UUID, **options) -> HandIn:
        chunk = NewEvent(Recorded(new_id(), 1, AnswerChunkAppended(1, "text")), "message", new_id(), key_id)
        return a_hand_in(chunk, **options)

    person, other = store.keyring.new_key(None), store.keyring.new_key(None)
    begun, apart = store.keyring.new_key(person.key_id), store.keyring.new_key(other.key_id)
    await writer.hand_in(sealed(person.key_id, new_keys=[person]))
    async with one_group(writer):
        waiting = [
            writer.hand_in(sealed(person.key_id)),
            writer.hand_in(sealed(begun.key_id, new_keys=[begun])),
            writer.hand_in(sealed(apart.key_id, new_keys=[other, apart])),
        ]
        store.keyring.destroy([person.key_id])
    results = await asyncio.gather(*waiting, return_exceptions=True)
    later = store.keyring.new_key(person.key_id)

    assert [type(result) for result in results] == [KeyDestroyedError, KeyDestroyedError, list]
    assert await outcomes(writer, sealed(later.key_id, new_keys=[later]), sealed(apart.key_id)) == [
        KeyDestroyedError,
        [3],
    ]
    assert durable_keys(tmp_path) == {person.key_id, other.key_id, apart.key_id}


# Many at once


async def test_many_at_once_leave_no_gap_and_lose_nothing(
    store: Store, writer: GroupCommitWriter, commits: list
) -> None:
    told: list[Sequence[Envelope]] = []
    writer.observe(told.append)
    dice, shared = random.Random(7), [new_id() for _ in range(4)]
    plans = [[dice.randint(1, 5) for _ in range(40)] for _ in range(16)]
    refused = 0

    async def work(plan: list[int]) -> list[int]:
        nonlocal refused
        own, version, got = new_id(), 0, []
        for count in plan:
            contested = stop_events(shared[count % 4], 1) if count == 5 else []
            versions = range(version + 1, version + count + 1)
            try:
                envelopes = await writer.hand_in(a_hand_in(*contested, *stop_events(own, *versions)))
            except VersionConflictError:
                refused += 1
                continue
            version += count
            got += [envelope.position for envelope in envelopes]
        return got

    got = [position for positions in await asyncio.gather(*map(work, plans)) for position in positions]
    assert refused == sum(plan.count(5) for plan in plans) - 1
    assert sorted(got) == store.positions() == list(range(1, len(got) + 1))
    # One call into the loop per commit, with everything that it holds, in order.
    assert len(told) <= len(commits) < sum(map(len, plans)) - refused
    assert [envelope.position for group in told for envelope in group] == store.positions()
    with store.ledger.write() as transaction:
        rows = transaction.read_log(0, len(got) + 1)
    assert all(row.leaf == leaf_hash(row) for row in rows)
    versions: dict[UUID, list[int]] = {}
    for row in rows:
        versions.setdefault(row.stream_id, []).append(row.version)
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())


async def test_a_group_is_one_commit_and_one_call_into_the_loop(
    store: Store, writer: GroupCommitWriter, commits: list
) -> None:
    told: list[Sequence[Envelope]] = []
    writer.observe(told.append)
    assert await outcomes(writer, *(simple() for _ in range(500))) == [[number] for number in range(1, 501)]
    assert (len(commits), [len(group) for group in told]) == (1, [500])


async def test_observers_hear_of_what_is_committed_in_order_and_before_the_caller(store: Store) -> None:
    bad, heard, trouble = new_id(), [], []
    async with running_writer(store, asyncio.get_running_loop(), _Refusing(store, bad)) as writer:
        futures: list[asyncio.Future] = []

        def observe(envelopes: Sequence[Envelope]) -> None:
            # Another connection: what it sees is committed.
            committed = set(store.positions())
            trouble.extend(envelope for envelope in envelopes if envelope.position not in committed)
            heard.extend(envelope.position for envelope in envelopes)
            if writer.head_position != heard[-1]:
                trouble.append(writer.head_position)
            done = [one.result() for one in futures if one.done() and not one.exception()]
            told = {envelope.position for result in done for envelope in result}
            trouble.extend(told & {envelope.position for envelope in envelopes})

        writer.observe(observe)
        for _ in range(20):
            async with one_group(writer):
                futures += [writer.hand_in(simple(bad if number == 3 else new_id())) for number in range(5)]
        results = await asyncio.gather(*futures, return_exceptions=True)
    assert trouble == []
    assert heard == store.positions() == list(range(1, 81))
    assert sum(isinstance(result, ZeroDivisionError) for result in results) == 20


async def test_closing_commits_what_was_handed_in_and_takes_no_more(store: Store) -> None:
    async with running_writer(store, asyncio.get_running_loop()) as writer:
        futures = [writer.hand_in(simple(new_id(), 1, 2)) for _ in range(1_500)]
        await writer.close()
        assert store.positions() == list(range(1, 3_001))
        with pytest.raises(StorageUnavailableError, match="takes no more work"):
            writer.hand_in(simple())
        assert [envelope.position for envelopes in await asyncio.gather(*futures) for envelope in envelopes] == list(
            range(1, 3_001)
        )
        await writer.close()


# What is written


async def test_the_context_is_stored_once_per_hand_in(store: Store, writer: GroupCommitWriter) -> None:
    contexts = [a_context() for _ in range(2)]
    streams = [new_id() for _ in range(3)]
    hand_ins = [
        a_hand_in(*stop_events(streams[0], 1, 2), *stop_events(streams[1], 1), context=contexts[0]),
        a_hand_in(*stop_events(streams[2], 1, 2), context=contexts[1]),
    ]
    await outcomes(writer, *hand_ins)
    (late,) = await writer.hand_in(a_hand_in(*stop_events(streams[0], 3), context=1))
    assert late.context_position == 1
    rows = store.query("SELECT context_position, context FROM events ORDER BY position")
    first, second = (msgspec.json.encode(context) for context in contexts)
    assert rows == [(1, first), (1, None), (1, None), (4, second), (4, None), (1, None)]
    assert await store.ledger.context_at([1, 4]) == {1: first, 4: second}


async def test_time_does_not_fall_where_the_clock_does(store: Store, writer: GroupCommitWriter) -> None:
    times = []
    for seconds in (0, 5, -3600, 1, 7200):
        store.clock.pass_time(seconds=seconds)
        (envelope,) = await writer.hand_in(simple())
        times.append(envelope.recorded_at)
    assert times == [row[0] for row in store.query("SELECT recorded_at FROM events ORDER BY position")]
    assert [time - times[0] for time in times] == [0, 5_000_000, 5_000_000, 5_000_000, 3_606_000_000]


async def test_operational_state_moves_with_the_commit_or_not_at_all(store: Store, writer: GroupCommitWriter) -> None:
    def lease(message_id: UUID) -> Insert:
        return Insert("leases", {"message_id": message_id, "worker": "one", "attempt": 1, "expires_at": 10})

    good, bad = new_id(), new_id()
    assert await outcomes(writer, simple(good, changes=[lease(good)]), simple(bad, 2, changes=[lease(bad)])) == [
        [1],
        VersionConflictError,
    ]
    assert await outcomes(writer, HandIn(events=(), context=0, changes=[lease(bad)])) == [[]]
    assert sorted(store.query("SELECT message_id FROM leases")) == sorted([(good.bytes,), (bad.bytes,)])
    assert store.positions() == [1]


async def test_a_message_that_nobody_has_at_hand_is_folded_from_the_ledger(
    store: Store, writer: GroupCommitWriter
) -> None:
    key, message = store.keyring.new_key(None), Message.create(new_id(), a_question())
    attempt = message.start_attempt("worker")
    message.append_chunk(attempt, "An answer.")

    def hand_in_recorded(**options) -> asyncio.Future:
        events = [NewEvent(recorded, "message", new_id(), key.key_id) for recorded in message.collect_events()]
        return writer.hand_in(a_hand_in(*events, **options))

    async with one_group(writer):
        asked = hand_in_recorded(new_keys=[key])
        message.fail(attempt, "internal_server_error", "a reason")
        ended = hand_in_recorded()
        message.give_feedback("user", "like", "text")
        rated = hand_in_recorded()
    await asyncio.gather(asked, ended, rated)
    assert isinstance((await rated)[0].body, FeedbackGiven)
    conversation_id = message.created.conversation_id.bytes
    assert store.query("SELECT state, enters_prompts, ended_position FROM messages") == [("errored", 1, 4)]
    assert store.query("SELECT conversation_id, position FROM feedbacks") == [(conversation_id, 5)]


# A key store that others use, too


@pytest.fixture
def looks(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is known of the key store is always old at first; each look into it is noted here."""
    keyring, looks = store.keyring, []
    monkeypatch.setattr(keyring, "_is_shared", True)
    monkeypatch.setattr(keyring, "_looked_at", -DEADLINE)
    catch_up = keyring.catch_up
    monkeypatch.setattr(keyring, "catch_up", lambda: looks.append(keyring._looked_at) or catch_up())
    return looks


async def test_nobody_waits_for_the_key_store_of_one_that_commits(store, writer, looks, monkeypatch):
    is_asked, answers = threading.Event(), threading.Event()
    read = store.keyring.store.read

    def read_slowly(*query):
        is_asked.set()
        answers.wait(DEADLINE)
        return read(*query)

    monkeypatch.setattr(store.keyring.store, "read", read_slowly)
    committed = writer.hand_in(simple())
    assert await asyncio.to_thread(is_asked.wait, DEADLINE)

    def write_beside():
        with store.ledger.write() as transaction:
            return transaction.position()

    beside = asyncio.create_task(asyncio.to_thread(write_beside))
    try:
        assert await asyncio.wait_for(asyncio.shield(beside), DEADLINE / 2) == 0
    finally:
        answers.set()
    assert len(await committed) == 1
    await beside


@pytest.mark.parametrize("waits", [1, LOOKS_AT_KEYS])
async def test_what_was_known_before_a_long_wait_for_the_lock_is_asked_anew(store, writer, looks, monkeypatch, waits):
    write, left = store.ledger.write, [waits]

    @contextmanager
    def write_after_a_wait():
        with write() as transaction:
            if left[0]:
                left[0] -= 1
                store.keyring._looked_at = -DEADLINE
            yield transaction

    monkeypatch.setattr(store.ledger, "write", write_after_a_wait)
    committed = writer.hand_in(simple())
    if waits < LOOKS_AT_KEYS:
        assert len(await committed) == 1
    else:
        with pytest.raises(StorageUnavailableError, match="others have destroyed"):
            await committed
    assert len(looks) == min(waits + 1, LOOKS_AT_KEYS)
