"""From any event to the bytes of its row and back, under real keys; and the leaf over all of a row."""

import hashlib
import uuid
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.leaf import canonical_form, leaf_hash
from chatledger.application.ports.keys import KeyDestroyedError, SealBrokenError
from chatledger.application.ports.storage import EventRow
from chatledger.domain.events import REGISTRY, AnswerChunkAppended, StopRequested
from chatledger.domain.registry import EventRegistry, UnknownEventError
from chatledger.domain.visibility import Public, Sealed, visibilities
from tests.properties.generated import TEXTS, instances_of
from tests.support.master_keys import master_key

CANARY = "canary-7d41c2e95ab8"
PLANTED = TEXTS.map(lambda text: CANARY + text)
STREAM, EVENT = UUID(int=11), UUID(int=12)

every_type = pytest.mark.parametrize("event_type", list(REGISTRY), ids=lambda event_type: event_type.name)
SEALING = [event_type for event_type in REGISTRY if "sealed" in visibilities(event_type.body).values()]
every_sealing_type = pytest.mark.parametrize("event_type", SEALING, ids=lambda event_type: event_type.name)
quickly = settings(max_examples=20, deadline=None)


class Keys(msgspec.Struct):
    """The key ring that writes, one that has only read its file, and a key that both know."""

    writing: StoredKeyring
    reading: StoredKeyring
    key_id: UUID
    other_key_id: UUID


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    path = tmp_path_factory.mktemp("keys") / "keys.sqlite3"
    writing = StoredKeyring(SqliteKeyStore(path), master_key(path.parent), uuid.uuid4)
    parent = writing.new_key(None)
    children = [writing.new_key(parent.key_id) for _ in range(2)]
    writing.make_durable([parent, *children])
    reading = StoredKeyring(SqliteKeyStore(path, read_only=True), master_key(path.parent), uuid.uuid4)
    yield Keys(writing, reading, children[0].key_id, children[1].key_id)
    writing.close()
    reading.close()


def row_of(codec: EventCodec, body: Any, key_id: UUID) -> EventRow:
    encoded = codec.encode(body, STREAM, EVENT, key_id)
    return EventRow(
        position=7,
        stream_id=STREAM,
        category="message",
        version=3,
        event_id=EVENT,
        name=encoded.name,
        schema=encoded.schema,
        recorded_at=1_700_000_000_000_001,
        public=encoded.public,
        sealed=encoded.sealed,
        key_id=None if encoded.sealed is None else key_id,
        algorithm="none" if encoded.sealed is None else "aes-256-gcm",
        context_position=6,
        context=None,
    )


@every_type
@quickly
@given(data=st.data())
def test_what_is_read_is_what_was_written(event_type, keys, data) -> None:
    body = data.draw(instances_of(event_type.body, TEXTS, TEXTS))
    row = row_of(EventCodec(keys.writing), body, keys.key_id)
    envelope = EventCodec(keys.reading).decode(row)
    assert envelope.body == body
    assert type(envelope.body) is type(body)
    for name in ("position", "stream_id", "category", "version", "event_id", "recorded_at", "context_position"):
        assert getattr(envelope, name) == getattr(row, name)
    assert (envelope.originator_id, envelope.originator_version) == (STREAM, 3)


@every_type
@quickly
@given(data=st.data())
def test_no_sealed_text_is_in_the_stored_bytes(event_type, keys, data) -> None:
    body = data.draw(instances_of(event_type.body, TEXTS, PLANTED))
    declared = visibilities(event_type.body)
    row = row_of(EventCodec(keys.writing), body, keys.key_id)
    assert CANARY.encode() not in row.public
    assert CANARY.encode() not in (row.sealed or b"")
    assert set(msgspec.json.decode(row.public)) == {name for name in declared if declared[name] == "public"}
    assert (row.sealed is not None) == ("sealed" in declared.values())


@every_sealing_type
@quickly
@given(data=st.data())
def test_a_changed_byte_of_the_sealed_part_is_noticed(event_type, keys, data) -> None:
    body = data.draw(instances_of(event_type.body, TEXTS, TEXTS))
    codec = EventCodec(keys.writing)
    row = row_of(codec, body, keys.key_id)
    place = data.draw(st.integers(0, len(row.sealed) - 1))
    changed = bytearray(row.sealed)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBrokenError):
        codec.decode(msgspec.structs.replace(row, sealed=bytes(changed)))


@every_sealing_type
@quickly
@given(data=st.data())
def test_a_shortened_sealed_part_does_not_open(event_type, keys, data) -> None:
    body = data.draw(instances_of(event_type.body, TEXTS, TEXTS))
    codec = EventCodec(keys.writing)
    row = row_of(codec, body, keys.key_id)
    length = data.draw(st.integers(0, len(row.sealed) - 1))
    with pytest.raises(SealBrokenError):
        codec.decode(msgspec.structs.replace(row, sealed=row.sealed[:length]))


@every_sealing_type
@quickly
@given(data=st.data())
def test_a_sealed_part_opens_at_its_own_place_only(event_type, keys, data) -> None:
    body = data.draw(instances_of(event_type.body, TEXTS, TEXTS))
    codec = EventCodec(keys.writing)
    row = row_of(codec, body, keys.key_id)
    field, values = data.draw(
        st.sampled_from(
            [
                ("stream_id", st.uuids()),
                ("event_id", st.uuids()),
                ("schema", st.integers(0, 2**32 - 1)),
                ("name", st.sampled_from([other.name for other in REGISTRY])),
                ("key_id", st.just(keys.other_key_id)),
            ]
        )
    )
    elsewhere = data.draw(values.filter(lambda value: value != getattr(row, field)))
    with pytest.raises(SealBrokenError):
        codec.decode(msgspec.structs.replace(row, **{field: elsewhere}))


def test_an_unknown_name_and_an_unknown_schema_are_refused(keys) -> None:
    codec = EventCodec(keys.writing)
    row = row_of(codec, StopRequested(by="user"), keys.key_id)
    for unknown in ({"name": "StopWished"}, {"schema": 0}, {"schema": 2}):
        with pytest.raises(UnknownEventError):
            codec.decode(msgspec.structs.replace(row, **unknown))


def test_what_has_sealed_fields_is_not_written_without_a_key(keys) -> None:
    with pytest.raises(ValueError, match=r"^AnswerChunkAppended has sealed fields and its stream has no key$"):
        EventCodec(keys.writing).encode(AnswerChunkAppended(1, "a"), STREAM, EVENT, None)


def test_an_event_under_a_key_that_is_gone_is_not_read(keys) -> None:
    row = row_of(EventCodec(keys.writing), AnswerChunkAppended(1, "a"), keys.key_id)
    with pytest.raises(KeyDestroyedError):
        EventCodec(keys.reading).decode(msgspec.structs.replace(row, key_id=UUID(int=404)))


@every_type
@quickly
@given(data=st.data())
def test_of_an_erased_event_the_public_fields_are_left(event_type, keys, data) -> None:
    body = data.draw(instances_of(event_type.body, TEXTS, PLANTED))
    row = row_of(EventCodec(keys.writing), body, keys.key_id)
    erased = EventCodec(keys.reading).decode_or_erased(msgspec.structs.replace(row, key_id=UUID(int=404)))
    declared = visibilities(event_type.body)
    for field, visibility in declared.items():
        left = getattr(erased.body, field)
        assert left == getattr(body, field) if visibility == "public" else not left
    assert erased.is_erased == ("sealed" in declared.values())
    assert EventCodec(keys.reading).decode_or_erased(row).body == body


# An event type of these tests only, in its first and its third form.


def first_release() -> tuple[EventRegistry, type]:
    registry = EventRegistry()

    @registry.register("WallPainted")
    class Painted(msgspec.Struct, frozen=True):
        colour: Sealed[str]
        coats: Public[int]

    return registry, Painted


def third_release() -> tuple[EventRegistry, type]:
    registry = EventRegistry()

    @registry.register(
        "WallPainted",
        lambda fields: {"colours": [fields["colour"]], "coats": fields["coats"]},
        lambda fields: fields | {"glossy": False},
    )
    class Painted(msgspec.Struct, frozen=True):
        colours: Sealed[tuple[str, ...]]
        coats: Public[int]
        glossy: Public[bool]

    return registry, Painted


@quickly
@given(colour=TEXTS, coats=st.integers(0, 9))
def test_a_sealed_row_of_an_older_release_is_lifted_to_the_newest_schema(keys, colour, coats) -> None:
    old, old_type = first_release()
    new, new_type = third_release()
    row = row_of(EventCodec(keys.writing, old), old_type(colour, coats), keys.key_id)
    assert EventCodec(keys.reading, new).decode_all([row])[0].body == new_type((colour,), coats, glossy=False)


def test_a_row_of_a_newer_release_is_refused_by_an_older_one(keys) -> None:
    old, _ = first_release()
    new, new_type = third_release()
    row = row_of(EventCodec(keys.writing, new), new_type(("red",), 1, glossy=True), keys.key_id)
    with pytest.raises(UnknownEventError):
        EventCodec(keys.reading, old).decode_or_erased(msgspec.structs.replace(row, key_id=UUID(int=404)))
    with pytest.raises(UnknownEventError):
        EventCodec(keys.writing, old).decode(row)


# The leaf. Parts are short and of few letters, so that rows which differ only in where a part ends do come up.

unsigned = st.integers(0, 2**64 - 1)
parts = st.binary(max_size=5) | st.sampled_from((b"", b"a", b"aa", b"\xff\xff\xff\xff", b"\x00\x00\x00\x01a"))
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "position": unsigned,
    "stream_id": st.uuids(),
    "category": st.sampled_from(("message", "conversation", "app", "end_user", "operator")),
    "version": unsigned,
    "event_id": st.uuids(),
    "name": st.text("aé", max_size=3),
    "schema": st.integers(0, 2**32 - 1),
    "recorded_at": unsigned,
    "public": parts,
    "sealed": st.none() | parts,
    "key_id": st.none() | st.uuids(),
    "algorithm": st.sampled_from(("none", "aes-256-gcm")),
    "context_position": unsigned,
    "context": st.none() | parts,
}
rows = st.builds(EventRow, **FIELDS)


def read_back(form: bytes) -> EventRow:
    """The row of a canonical form, read as its description says; nothing may be left over."""
    cursor = 0

    def take(count: int) -> bytes:
        nonlocal cursor
        taken = form[cursor : cursor + count]
        assert len(taken) == count
        cursor += count
        return taken

    def integer(width: int) -> int:
        return int.from_bytes(take(width), "big")

    def part() -> bytes | None:
        length = integer(4)
        return None if length == 0xFFFFFFFF else take(length)

    position, version, schema, recorded_at, context_position = (integer(width) for width in (8, 8, 4, 8, 8))
    stream_id, event_id = UUID(bytes=take(16)), UUID(bytes=take(16))
    category, name, algorithm, public, sealed, key_id, context = (part() for _ in range(7))
    assert cursor == len(form)
    return EventRow(
        position=position,
        stream_id=stream_id,
        category=category.decode(),
        version=version,
        event_id=event_id,
        name=name.decode(),
        schema=schema,
        recorded_at=recorded_at,
        public=public,
        sealed=sealed,
        key_id=None if key_id is None else UUID(bytes=key_id),
        algorithm=algorithm.decode(),
        context_position=context_position,
        context=context,
    )


@settings(max_examples=150, deadline=None)
@given(row=rows)
def test_a_canonical_form_can_be_read_back_so_no_two_rows_share_one(row) -> None:
    assert read_back(canonical_form(row)) == row


@settings(max_examples=150, deadline=None)
@given(row=rows, data=st.data())
def test_rows_that_differ_in_where_a_part_ends_have_forms_of_their_own(row, data) -> None:
    texts = {"public": row.public, "sealed": row.sealed or b"", "context": row.context or b""}
    whole = b"".join(texts.values())
    first, second = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    moved = msgspec.structs.replace(row, public=whole[:first], sealed=whole[first:second], context=whole[second:])
    assert (canonical_form(moved) == canonical_form(row)) == (moved == row)


@pytest.mark.parametrize("field", [name for name in EventRow.__struct_fields__ if name != "leaf"])
@quickly
@given(row=rows, data=st.data())
def test_the_leaf_covers_every_field(field, row, data) -> None:
    other = data.draw(FIELDS[field].filter(lambda value: value != getattr(row, field)))
    assert leaf_hash(msgspec.structs.replace(row, **{field: other})) != leaf_hash(row)


@quickly
@given(row=rows, leaf=st.binary(max_size=32))
def test_the_leaf_does_not_cover_itself(row, leaf) -> None:
    assert leaf_hash(msgspec.structs.replace(row, leaf=leaf)) == leaf_hash(row)


def test_the_leaf_of_a_known_row_never_changes() -> None:
    row = EventRow(
        position=1,
        stream_id=UUID(int=2),
        category="message",
        version=3,
        event_id=UUID(int=4),
        name="Ab",
        schema=5,
        recorded_at=6,
        public=b"{}",
        sealed=None,
        key_id=None,
        algorithm="none",
        context_position=7,
        context=b"x",
    )
    by_hand = bytes.fromhex("""
        0000000000000001 0000000000000003 00000005 0000000000000006 0000000000000007
        00000000000000000000000000000002 00000000000000000000000000000004
        00000007 6d657373616765
        00000002 4162
        00000004 6e6f6e65
        00000002 7b7d
        ffffffff
        ffffffff
        00000001 78
    """)
    assert canonical_form(row) == by_hand
    assert leaf_hash(row) == hashlib.sha256(b"\x00" + by_hand).digest()
