"""What every memory of a notary promises."""

from chatledger.application.system_clock import new_id


async def test_the_last_note_of_each_log_is_there_after_reopening(open_notary_memory) -> None:
    async with open_notary_memory() as memory:
        assert memory.recall("log/one") is None
        for origin, before, note in (
            ("log/one", None, b"first"),
            ("log/two", None, b"other"),
            ("log/one", b"first", b"second"),
        ):
            assert memory.remember(origin, note, instead_of=before)
        for before in (None, b"first", b"other"):
            assert not memory.remember("log/one", b"a fork", instead_of=before)
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
