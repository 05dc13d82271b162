"""What every store of signing keys promises."""

from datetime import UTC, datetime, timedelta

import pytest

from chatledger.application.system_clock import SystemClock, new_id
from tests.contracts.adapters import REFUSED_MASTER_KEY

MASTER = bytes(range(32))


@pytest.fixture
async def signing_keys(open_signing_keys):
    async with open_signing_keys(MASTER) as opened:
        yield opened


async def test_there_is_always_a_newest_key(signing_keys) -> None:
    newest = signing_keys.newest()
    assert len(newest.secret) == 32
    assert newest.retired_at is None
    assert signing_keys.find(newest.key_id) == newest
    assert signing_keys.find(new_id()) is None


async def test_rotated_the_earlier_keys_stay_to_check_with(signing_keys) -> None:
    before = datetime.now(UTC)
    first = signing_keys.newest()
    second = signing_keys.rotate(forget_earlier=False)
    retired = signing_keys.find(first.key_id)
    third = signing_keys.rotate(forget_earlier=False)

    assert signing_keys.newest() == third
    assert len({first.secret, second.secret, third.secret}) == 3
    assert retired.secret == first.secret
    assert before <= retired.retired_at <= datetime.now(UTC)
    assert signing_keys.find(first.key_id) == retired, "what is retired stays so from then on"
    assert signing_keys.find(second.key_id).retired_at >= retired.retired_at


async def test_all_keys_are_given_in_the_order_in_which_they_signed(signing_keys) -> None:
    keys = [signing_keys.newest(), *(signing_keys.rotate(forget_earlier=False) for _ in range(3))]
    assert [key.key_id for key in signing_keys.all()] == [key.key_id for key in keys]


async def test_forgotten_the_earlier_keys_are_gone(signing_keys) -> None:
    earlier = [signing_keys.newest(), signing_keys.rotate(forget_earlier=False)]
    newest = signing_keys.rotate(forget_earlier=True)

    assert signing_keys.newest() == newest
    assert [signing_keys.find(key.key_id) for key in earlier] == [None, None]


@pytest.mark.parametrize("forget_earlier", [True, False])
async def test_all_keys_are_there_after_reopening(open_signing_keys, forget_earlier: bool) -> None:
    async with open_signing_keys(MASTER) as signing_keys:
        first = signing_keys.newest()
        second = signing_keys.rotate(forget_earlier=forget_earlier)
        retired = signing_keys.find(first.key_id)
    async with open_signing_keys(MASTER) as signing_keys:
        assert signing_keys.newest() == second
        assert signing_keys.find(first.key_id) == retired


async def test_another_master_key_is_refused(open_signing_keys) -> None:
    async with open_signing_keys(MASTER) as signing_keys:
        newest = signing_keys.newest()
    with pytest.raises(REFUSED_MASTER_KEY):
        async with open_signing_keys(bytes(32)):
            pass
    async with open_signing_keys(MASTER) as signing_keys:
        assert signing_keys.newest() == newest


async def test_a_key_that_was_retired_while_the_clock_stood_back_is_retired_at_that_time(open_signing_keys) -> None:
    class EarlierClock(SystemClock):
        def now(self) -> datetime:
            return super().now() - timedelta(days=1)

    async with open_signing_keys(MASTER, EarlierClock()) as signing_keys:
        first = signing_keys.newest()
        signing_keys.rotate(forget_earlier=False)
        assert signing_keys.find(first.key_id).retired_at < datetime.now(UTC) - timedelta(hours=23)


async def test_a_signing_key_does_not_show_its_secret(signing_keys) -> None:
    newest = signing_keys.newest()
    assert repr(newest) == f"SigningKey({newest.key_id})"


@pytest.mark.parametrize("forget_earlier", [True, False])
async def test_what_one_process_rotates_another_signs_with_and_knows(open_signing_keys, forget_earlier: bool) -> None:
    async with open_signing_keys(MASTER) as one, open_signing_keys(MASTER) as other:
        first = one.newest()
        assert other.newest() == first
        second = one.rotate(forget_earlier=forget_earlier)
        other.catch_up()
        assert other.newest() == second
        assert (other.find(first.key_id) is None) is forget_earlier
        third = other.rotate(forget_earlier=forget_earlier)
        one.catch_up()
        assert one.all() == other.all()
        assert one.newest() == third
