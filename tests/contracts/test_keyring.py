"""What every keyring promises."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatledger.application.ports.keys import KeyDestroyedError, SealBrokenError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.system_clock import new_id
from tests.contracts.adapters import REFUSED_MASTER_KEY

MASTER = bytes(range(32))


@pytest.fixture
async def keyring(open_keyring):
    async with open_keyring(MASTER) as opened:
        yield opened


def assert_there(keyring, *keys):
    for new in keys:
        keyring.key(new.key_id).seal(b"text", b"")


def assert_gone(keyring, *keys):
    for new in keys:
        assert keyring.cached(new.key_id) is None
        with pytest.raises(KeyDestroyedError):
            keyring.key(new.key_id)


def a_key(keyring, parent=None):
    return keyring.key(keyring.new_key(parent).key_id)


async def test_what_was_sealed_opens(keyring) -> None:
    key = a_key(keyring)
    for plaintext in (b"", b"text", bytes(100_000)):
        assert key.open(key.seal(plaintext, b"place"), b"place") == plaintext
        assert key.open_row(key.seal_row(plaintext, b"place"), b"place") == plaintext


async def test_sealing_twice_gives_other_bytes_but_for_rows(keyring) -> None:
    key = a_key(keyring)
    assert key.seal(b"text", b"place") != key.seal(b"text", b"place")
    assert key.seal_row(b"text", b"place") == key.seal_row(b"text", b"place")
    assert key.seal_row(b"text", b"place") != key.seal_row(b"text", b"elsewhere")


@pytest.mark.parametrize(("seal", "opened"), [("seal", "open"), ("seal_row", "open_row")])
async def test_elsewhere_under_another_key_or_changed_it_stays_closed(keyring, seal: str, opened: str) -> None:
    key, other = a_key(keyring), a_key(keyring)
    sealed = getattr(key, seal)(b"text", b"place")
    changed = [bytes([*sealed[:at], sealed[at] ^ 1, *sealed[at + 1 :]]) for at in range(len(sealed))]
    with pytest.raises(SealBrokenError):
        getattr(key, opened)(sealed, b"elsewhere")
    with pytest.raises(SealBrokenError):
        getattr(other, opened)(sealed, b"place")
    for wrong in (*changed, b"", sealed[:5], sealed[:-1], sealed + b"\0"):
        with pytest.raises(SealBrokenError):
            getattr(key, opened)(wrong, b"place")


async def test_a_fingerprint_confirms_a_guess_only_to_who_has_the_key(keyring) -> None:
    key, other = a_key(keyring), a_key(keyring)
    assert re.fullmatch("[0-9a-f]{64}", key.fingerprint(b"yes"))
    assert key.fingerprint(b"yes") == key.fingerprint(b"yes")
    assert len({key.fingerprint(b"yes"), key.fingerprint(b"no"), other.fingerprint(b"yes")}) == 3


async def test_a_new_key_is_at_hand_and_no_other_is(keyring) -> None:
    new = keyring.new_key(None)
    assert keyring.cached(new.key_id) is keyring.key(new.key_id)
    assert keyring.cached(new_id()) is None
    with pytest.raises(KeyDestroyedError):
        keyring.key(new_id())


async def test_keys_are_there_after_reopening_once_they_were_made_durable(open_keyring) -> None:
    async with open_keyring(MASTER) as keyring:
        durable, child, lost = keyring.new_key(None), None, keyring.new_key(None)
        child = keyring.new_key(durable.key_id)
        keyring.make_durable([child, durable])
        keyring.make_durable([durable])
        keyring.make_durable([])
        sealed = {new.key_id: keyring.key(new.key_id).seal(b"text", b"") for new in (durable, child)}
        prints = {new.key_id: keyring.key(new.key_id).fingerprint(b"text") for new in (durable, child)}
        rows = {new.key_id: keyring.key(new.key_id).seal_row(b"text", b"") for new in (durable, child)}
    async with open_keyring(MASTER) as keyring:
        assert keyring.cached(child.key_id) is None
        for key_id in (child.key_id, durable.key_id):
            assert keyring.key(key_id).open(sealed[key_id], b"") == b"text"
            assert keyring.key(key_id).fingerprint(b"text") == prints[key_id]
            assert keyring.key(key_id).seal_row(b"text", b"") == rows[key_id]
        assert keyring.cached(child.key_id) is not None
        with pytest.raises(KeyDestroyedError):
            keyring.key(lost.key_id)


async def test_a_child_can_be_made_under_a_key_that_has_to_be_fetched(open_keyring) -> None:
    async with open_keyring(MASTER) as keyring:
        parent = keyring.new_key(None)
        keyring.make_durable([parent])
    async with open_keyring(MASTER) as keyring:
        child = keyring.new_key(parent.key_id)
        keyring.make_durable([child])
        sealed = keyring.key(child.key_id).seal(b"text", b"")
    async with open_keyring(MASTER) as keyring:
        assert keyring.key(child.key_id).open(sealed, b"") == b"text"


async def test_another_master_key_is_refused(open_keyring) -> None:
    async with open_keyring(MASTER):
        pass
    with pytest.raises(REFUSED_MASTER_KEY):
        async with open_keyring(bytes(32)):
            pass
    async with open_keyring(MASTER):
        pass


async def test_a_lookup_stays_the_same_and_tells_scopes_and_texts_apart(open_keyring) -> None:
    async with open_keyring(MASTER) as keyring:
        found = keyring.lookup("app", "ada@example.org")
        others = {keyring.lookup("app", "bob@example.org"), keyring.lookup("app2", "ada@example.org")}
    async with open_keyring(MASTER) as keyring:
        assert keyring.lookup("app", "ada@example.org") == found
    assert len(others | {found}) == 3
    assert re.fullmatch("[0-9a-f]{64}", found)


async def test_destroyed_are_a_key_and_all_under_it_and_no_other(open_keyring) -> None:
    async with open_keyring(MASTER) as keyring:
        person, other = keyring.new_key(None), keyring.new_key(None)
        conversation, sibling = keyring.new_key(person.key_id), keyring.new_key(person.key_id)
        file, apart = keyring.new_key(conversation.key_id), keyring.new_key(other.key_id)
        keyring.make_durable([person, other, conversation, sibling, file, apart])
        keyring.destroy([conversation.key_id])
        assert_gone(keyring, conversation, file)
        assert_there(keyring, person, sibling, other, apart)
        for _ in range(2):
            keyring.destroy([person.key_id, conversation.key_id, new_id()])
        keyring.destroy([])
        assert_gone(keyring, person, conversation, sibling, file)
        assert_there(keyring, other, apart)
    async with open_keyring(MASTER) as keyring:
        assert_gone(keyring, person, conversation, sibling, file)
        assert_there(keyring, other, apart)


async def test_destroyed_are_keys_that_nobody_has_at_hand(open_keyring) -> None:
    async with open_keyring(MASTER) as keyring:
        person = keyring.new_key(None)
        conversation = keyring.new_key(person.key_id)
        keyring.make_durable([person, conversation])
    async with open_keyring(MASTER) as keyring:
        keyring.destroy([person.key_id])
        assert_gone(keyring, person, conversation)


async def test_a_destroyed_key_is_of_no_use_to_who_has_it_in_hand(keyring) -> None:
    person, unsaved = keyring.new_key(None), keyring.new_key(None)
    conversation, begun = keyring.new_key(person.key_id), keyring.new_key(person.key_id)
    keyring.make_durable([person, conversation])
    held = [keyring.key(new.key_id) for new in (person, conversation, begun, unsaved)]
    sealed = [(key, key.seal(b"text", b""), key.seal_row(b"text", b"")) for key in held]
    for key in held[::2]:
        key.fingerprint(b"text")
    keyring.destroy([person.key_id, unsaved.key_id])
    for key, event, row in sealed:
        for use in (
            lambda key=key: key.seal(b"text", b""),
            lambda key=key, event=event: key.open(event, b""),
            lambda key=key: key.seal_row(b"text", b""),
            lambda key=key, row=row: key.open_row(row, b""),
            lambda key=key: key.fingerprint(b"text"),
        ):
            with pytest.raises(KeyDestroyedError):
                use()


async def test_none_is_destroyed_where_that_is_wrong_at_the_last_moment(open_keyring) -> None:
    def refuse() -> None:
        raise StorageUnavailableError("somebody else decides now")

    async with open_keyring(MASTER) as keyring:
        person, never_stored = keyring.new_key(None), keyring.new_key(None)
        child = keyring.new_key(person.key_id)
        keyring.make_durable([person, child])
        with pytest.raises(StorageUnavailableError, match="somebody else"):
            keyring.destroy([person.key_id, never_stored.key_id], refuse)
        assert_there(keyring, person, child, never_stored)
        keyring.make_durable([never_stored])
    async with open_keyring() as keyring:
        assert_there(keyring, person, child, never_stored)


async def test_nothing_brings_a_destroyed_key_back(open_keyring) -> None:
    async with open_keyring(MASTER) as keyring:
        person, other = keyring.new_key(None), keyring.new_key(None)
        conversation = keyring.new_key(person.key_id)
        keyring.make_durable([person, conversation])
        keyring.destroy([person.key_id])
        later = keyring.new_key(person.key_id)
        for attempt in ([person], [conversation], [person, conversation], [later], [other, later], [person, later]):
            with pytest.raises(KeyDestroyedError):
                keyring.make_durable(attempt)
        assert_gone(keyring, person, conversation)
    async with open_keyring(MASTER) as keyring:
        assert_gone(keyring, person, conversation, later, other)


async def test_no_key_stands_under_one_that_no_disk_knows(open_keyring) -> None:
    async with open_keyring(MASTER) as keyring:
        parent = keyring.new_key(None)
        child = keyring.new_key(parent.key_id)
        with pytest.raises(KeyDestroyedError):
            keyring.make_durable([child])
        keyring.make_durable([child, parent])
    async with open_keyring(MASTER) as keyring:
        assert_there(keyring, parent, child)


def sealed_by(keyring, new):
    key = keyring.key(new.key_id)
    return key.seal(b"text", b""), key.seal_row(b"text", b""), key.fingerprint(b"text"), keyring.lookup("app", "ada")


def assert_opens(keyring, new, sealed):
    key = keyring.key(new.key_id)
    assert (key.open(sealed[0], b""), key.open_row(sealed[1], b"")) == (b"text", b"text")
    assert (key.fingerprint(b"text"), keyring.lookup("app", "ada")) == sealed[2:]


async def test_rotated_all_keys_seal_and_open_as_before(open_keyring) -> None:
    async with open_keyring(MASTER) as keyring:
        person, other = keyring.new_key(None), keyring.new_key(None)
        conversation, apart = keyring.new_key(person.key_id), keyring.new_key(other.key_id)
        file, gone = keyring.new_key(conversation.key_id), keyring.new_key(person.key_id)
        keyring.make_durable([person, other, conversation, apart, file, gone])
        keyring.destroy([gone.key_id])
        before = {new.key_id: sealed_by(keyring, new) for new in (person, other, conversation, apart, file)}
        pending = keyring.new_key(person.key_id)
        assert (keyring.rotate_key(person.key_id), keyring.rotate_key(conversation.key_id)) == (1, 1)
        assert keyring.rotate_key(apart.key_id) == 0
        of_master = keyring.rotate_master_key()
        later = keyring.new_key(person.key_id)
        keyring.make_durable([pending, later])
        before |= {new.key_id: sealed_by(keyring, new) for new in (pending, later)}
        assert of_master == keyring.rotate_master_key() >= 2
    for _ in range(2):
        async with open_keyring() as keyring:
            for new in (file, person, other, conversation, apart, pending, later):
                assert_opens(keyring, new, before[new.key_id])
            assert_gone(keyring, gone)
            keyring.rotate_key(person.key_id)


async def test_after_its_rotation_the_former_master_key_is_refused(open_keyring) -> None:
    async with open_keyring(MASTER) as keyring:
        keyring.rotate_master_key()
    with pytest.raises(REFUSED_MASTER_KEY):
        async with open_keyring(MASTER):
            pass


async def test_no_key_is_rotated_that_there_is_not(keyring) -> None:
    gone = keyring.new_key(None)
    keyring.make_durable([gone])
    keyring.destroy([gone.key_id])
    for key_id in (gone.key_id, new_id()):
        with pytest.raises(KeyDestroyedError):
            keyring.rotate_key(key_id)


async def test_keys_are_made_used_and_destroyed_while_others_are_rotated(open_keyring) -> None:
    made, ended = [], threading.Event()
    async with open_keyring(MASTER) as keyring:
        person = keyring.new_key(None)
        keyring.make_durable([person])

        def make() -> None:
            while not ended.is_set():
                pair = [keyring.new_key(person.key_id), keyring.new_key(None)]
                keyring.make_durable(pair)
                made.append([(new, sealed_by(keyring, new)) for new in pair])
                if len(made) % 7 == 0:
                    keyring.destroy([made.pop(0)[0][0].key_id])

        with ThreadPoolExecutor(2) as pool:
            making = [pool.submit(make) for _ in range(2)]
            try:
                for _ in range(10):
                    keyring.rotate_key(person.key_id)
                    keyring.rotate_master_key()
            finally:
                ended.set()
            for each in making:
                each.result()
    async with open_keyring() as keyring:
        assert made
        for new, sealed in (entry for pair in made for entry in pair):
            assert_opens(keyring, new, sealed)


async def test_a_new_key_does_not_show_its_secret(keyring) -> None:
    new = keyring.new_key(None)
    assert len(new.secret) == 64
    assert repr(new) == f"NewKey({new.key_id})"


async def test_one_that_cannot_be_written_says_so_until_it_can(open_keyring, no_room_for_keys) -> None:
    async with open_keyring(MASTER) as keyring:
        durable, new = keyring.new_key(None), keyring.new_key(None)
        keyring.require_writable()
        keyring.make_durable([durable])
        with no_room_for_keys():
            for write in (
                keyring.require_writable,
                lambda: keyring.make_durable([new]),
                lambda: keyring.destroy([durable.key_id]),
                lambda: keyring.rotate_key(durable.key_id),
                keyring.rotate_master_key,
            ):
                with pytest.raises(StorageUnavailableError):
                    write()
        keyring.require_writable()
        keyring.make_durable([new])
    async with open_keyring() as keyring:
        for key in (durable, new):
            keyring.key(key.key_id)


# Several processes


async def test_what_one_has_destroyed_is_of_no_use_to_another_that_has_caught_up(open_keyring) -> None:
    async with open_keyring(MASTER) as one, open_keyring() as other:
        person, kept = one.new_key(None), one.new_key(None)
        conversation = one.new_key(person.key_id)
        one.make_durable([person, kept, conversation])
        held = other.key(conversation.key_id)
        begun = other.new_key(person.key_id)
        one.destroy([person.key_id])
        assert other.catch_up() == other.catch_up()
        assert_gone(other, person, conversation)
        assert_there(other, kept)
        with pytest.raises(KeyDestroyedError):
            held.seal(b"text", b"")
        for attempt in ([begun], [conversation], [person]):
            with pytest.raises(KeyDestroyedError):
                other.make_durable(attempt)


async def test_no_key_is_brought_back_by_one_that_has_not_heard_of_its_end(open_keyring) -> None:
    async with open_keyring(MASTER) as one, open_keyring() as other:
        person = one.new_key(None)
        one.make_durable([person])
        other.key(person.key_id)
        begun = other.new_key(person.key_id)
        one.destroy([person.key_id])
        for attempt in ([begun], [person]):
            with pytest.raises(KeyDestroyedError):
                other.make_durable(attempt)
        assert_gone(other, person)
    async with open_keyring() as keyring:
        assert_gone(keyring, person, begun)


async def test_what_one_has_rotated_another_uses_and_adds_to(open_keyring) -> None:
    async with open_keyring(MASTER) as one, open_keyring() as other:
        person, stranger = one.new_key(None), one.new_key(None)
        conversation, file = one.new_key(person.key_id), one.new_key(person.key_id)
        one.make_durable([person, stranger, conversation, file])
        other.key(conversation.key_id)
        before = sealed_by(one, file)
        one.rotate_key(person.key_id)
        one.rotate_master_key()
        assert_opens(other, file, before)
        assert_there(other, stranger)
        added = [other.new_key(person.key_id), other.new_key(None)]
        other.make_durable(added)
        sealed = [sealed_by(other, new) for new in added]
        other.rotate_key(person.key_id)
        for new, by_other in zip(added, sealed, strict=True):
            assert_opens(one, new, by_other)
        one.make_durable([one.new_key(person.key_id)])
    async with open_keyring() as keyring:
        for new, by_other in zip(added, sealed, strict=True):
            assert_opens(keyring, new, by_other)


async def test_what_is_made_under_a_key_that_another_has_rotated_meanwhile_opens(open_keyring) -> None:
    async with open_keyring(MASTER) as one, open_keyring() as other:
        person = one.new_key(None)
        one.make_durable([person])
        other.key(person.key_id)
        one.rotate_key(person.key_id)
        one.rotate_master_key()
        made = [other.new_key(person.key_id), other.new_key(None)]
        other.make_durable(made)
        assert_there(one, *made)


async def test_who_begins_at_once_begins_with_the_same_keys(open_keyring) -> None:
    async with open_keyring(MASTER) as one, open_keyring() as other:
        assert one.lookup("app", "ada") == other.lookup("app", "ada")


async def test_the_master_key_is_rotated_again_and_again(open_keyring) -> None:
    async with open_keyring(MASTER) as keyring:
        stored = keyring.new_key(None)
        keyring.make_durable([stored])
        for _ in range(3):
            assert keyring.rotate_master_key() == 2
    async with open_keyring() as keyring:
        assert_there(keyring, stored)


async def test_who_was_away_for_longer_than_changes_are_kept_knows_all_the_same(open_keyring, monkeypatch) -> None:
    monkeypatch.setattr("chatledger.adapters.keys.keyring.CHANGES_KEPT", 3)
    async with open_keyring(MASTER) as one, open_keyring() as other:
        erased, rotated = one.new_key(None), one.new_key(None)
        one.make_durable([erased, rotated])
        held, begun = other.key(erased.key_id), other.new_key(rotated.key_id)
        other.key(rotated.key_id)
        one.destroy([erased.key_id])
        one.rotate_key(rotated.key_id)
        one.rotate_master_key()
        for _ in range(5):
            one.destroy([new_id()])
        assert one.store.read("SELECT count(*) FROM changes") == [(3,)]
        other.catch_up()
        assert_gone(other, erased)
        with pytest.raises(KeyDestroyedError):
            held.seal(b"text", b"")
        other.make_durable([begun, other.new_key(None)])
        assert_there(one, begun)
