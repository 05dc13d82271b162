"""What is on record of how far endpoints were told."""

import pytest

from chatledger.application.ports.webhooks import OnRecord, Progress, RecordChangedError, Standing, Undelivered
from chatledger.application.system_clock import new_id

ORDER = new_id()


def undelivered(position: int, **more) -> Undelivered:
    return Undelivered(position=position, order_id=ORDER, **more)


async def test_an_endpoint_begins_where_it_is_told_to_and_goes_on_from_there(deliveries):
    endpoint = new_id()
    assert await deliveries.standing(endpoint) is None
    assert await deliveries.begin(endpoint, 7) == OnRecord(Progress(position=7), [], 0)
    assert await deliveries.standing(endpoint) == Standing(Progress(position=7), 0, 0)
    progress = Progress(position=12, failures=2, failing_since=100, paused_until=200)
    await deliveries.save(endpoint, progress, [], [], revision=0)
    assert await deliveries.begin(endpoint, 3) == OnRecord(progress, [], 0)


async def test_what_was_not_taken_is_kept_until_it_is(deliveries):
    endpoint, other, progress = new_id(), new_id(), Progress(position=10)
    for each in (endpoint, other):
        await deliveries.begin(each, 0)
    first, second = undelivered(4, attempts=1, due_at=50, error="503", failed_at=40), undelivered(6)
    await deliveries.save(endpoint, progress, [second, first], [], revision=0)
    assert (await deliveries.begin(endpoint, 0)).undelivered == [first, second]
    assert (await deliveries.begin(other, 0)).undelivered == []
    again = undelivered(4, attempts=2, due_at=90, error="timeout", failed_at=80)
    await deliveries.save(endpoint, progress, [again], [6], revision=0)
    assert (await deliveries.begin(endpoint, 0)).undelivered == [again]


async def test_dead_ones_are_counted_listed_and_revived(deliveries):
    endpoint, progress = new_id(), Progress(position=10)
    await deliveries.begin(endpoint, 0)
    dead = [undelivered(position, attempts=9, error="422", failed_at=5, is_dead=True) for position in (2, 5, 12)]
    await deliveries.save(endpoint, progress, [*dead, undelivered(7)], [], revision=0)
    assert await deliveries.standing(endpoint) == Standing(progress, waiting=1, dead=3)
    found = await deliveries.begin(endpoint, 0)
    assert ([each.position for each in found.undelivered], found.dead) == ([7, 12], 3)
    assert await deliveries.dead_letters(endpoint, 0, 2) == dead[:2]
    assert await deliveries.dead_letters(endpoint, 5, 2) == dead[2:]
    assert await deliveries.revive(endpoint, [5, 7]) == 1
    assert (await deliveries.begin(endpoint, 0)).undelivered == [undelivered(5), undelivered(7), dead[2]]
    assert await deliveries.revive(endpoint, None) == 2
    assert (await deliveries.standing(endpoint)).dead == 0


async def test_it_is_told_again_from_a_place_on_and_nothing_of_that_is_kept(deliveries):
    endpoint = new_id()
    await deliveries.begin(endpoint, 0)
    kept = [undelivered(3, error="503", failed_at=1), undelivered(8), undelivered(9, is_dead=True)]
    await deliveries.save(
        endpoint, Progress(position=10, failures=3, failing_since=1, paused_until=9), kept, [], revision=0
    )
    await deliveries.rewind(endpoint, 5)
    assert await deliveries.begin(endpoint, 0) == OnRecord(Progress(position=5), kept[:1], 0, revision=1)


async def test_where_it_was_not_told_so_far_nothing_is_passed_over(deliveries):
    endpoint = new_id()
    await deliveries.begin(endpoint, 0)
    kept = [undelivered(3, error="503", failed_at=1), undelivered(12), undelivered(15)]
    await deliveries.save(
        endpoint, Progress(position=10, failures=3, failing_since=1, paused_until=9), kept, [], revision=0
    )
    await deliveries.rewind(endpoint, 13)
    assert await deliveries.begin(endpoint, 0) == OnRecord(Progress(position=10), kept[:2], 0, revision=1)


async def test_what_it_has_failed_is_forgiven_and_still_there(deliveries):
    endpoint = new_id()
    await deliveries.begin(endpoint, 0)
    kept = [undelivered(3, attempts=2, is_dead=True), undelivered(12, attempts=2, due_at=9, error="503", failed_at=8)]
    await deliveries.save(
        endpoint, Progress(position=10, failures=3, failing_since=1, paused_until=9), kept, [], revision=0
    )
    await deliveries.forgive(endpoint)
    waiting = [undelivered(12, error="503", failed_at=8)]
    assert await deliveries.begin(endpoint, 0) == OnRecord(
        Progress(position=10), waiting, dead=1, forgiven=1, revision=1
    )


async def test_what_is_forgotten_is_gone(deliveries):
    endpoint, other = new_id(), new_id()
    for each in (endpoint, other):
        await deliveries.begin(each, 4)
        await deliveries.save(each, Progress(position=9), [undelivered(6)], [], revision=0)
    await deliveries.forget(endpoint)
    assert await deliveries.standing(endpoint) is None
    assert (await deliveries.begin(other, 0)).undelivered == [undelivered(6)]


async def test_what_builds_on_a_record_that_was_changed_is_not_saved(deliveries):
    endpoint, other, progress = new_id(), new_id(), Progress(position=10)
    for each in (endpoint, other):
        await deliveries.begin(each, 0)
    await deliveries.save(endpoint, progress, [undelivered(4, is_dead=True)], [], revision=0)
    for change in (
        lambda: deliveries.revive(endpoint, None),
        lambda: deliveries.rewind(endpoint, 3),
        lambda: deliveries.forgive(endpoint),
    ):
        before = (await deliveries.begin(endpoint, 0)).revision
        await change()
        on_record = await deliveries.begin(endpoint, 0)
        assert on_record.revision == before + 1
        with pytest.raises(RecordChangedError):
            await deliveries.save(endpoint, Progress(position=20), [undelivered(15)], [4], revision=before)
        assert await deliveries.begin(endpoint, 0) == on_record
    assert await deliveries.revisions() == {endpoint: 3, other: 0}
    await deliveries.save(endpoint, Progress(position=20), [], [], revision=3)
    await deliveries.save(other, Progress(position=20), [], [], revision=0)
