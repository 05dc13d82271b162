"""What every memory of a notary promises."""

from chatledger.application.system_clock import new_id


async def test_the_last_note_of_each_log_is_there_after_reopening(open_notary_memory) -> None:
    async with open_notary_memory() as memory:
        assert memory.recall("log/one") is None
        for origin, note in (("log/one", b"first"), ("log/two", b"other"), ("log/one", b"second")):
            memory.remember(origin, note)
        assert memory.all_notes() == [b"second", b"other"]
    async with open_notary_memory() as memory:
        assert (memory.recall("log/one"), memory.recall("log/two")) == (b"second", b"other")


async def test_a_key_store_is_of_the_ledger_that_came_first_until_somebody_says_otherwise(open_notary_memory) -> None:
    first, second = new_id(), new_id()
    async with open_notary_memory() as memory:
        assert memory.incarnation() is None
        assert (memory.settle(first), memory.settle(second)) == (first, first)
        memory.move(second)
    async with open_notary_memory() as memory:
        assert memory.settle(first) == second
