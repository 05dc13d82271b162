"""Whatever tree a conversation has grown into: a branch is the way from a message to its root."""

from collections.abc import Callable, Sequence
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.domain.branch import Link, branch
from chatledger.domain.values import NIL_UUID

NOWHERE = UUID(int=999)
ROOT, LINE = "root", "line"

# Each message hangs on nothing, on time, or on one of those before it (or, of a gap in the tree, on none of them).
hooks = st.sampled_from((ROOT, LINE, LINE)) | st.integers(1, 30)
# Or it asks one of them again, most often one of the last.
agains = st.tuples(st.just("again"), st.sampled_from((1, 1, 1, 2, 2, 3, 5)))
trees = st.lists(hooks | agains, max_size=30)


def grown(tree: Sequence[str | int | tuple[str, int]]) -> list[Link]:
    links: list[Link] = []
    for number, hook in enumerate(tree, start=1):
        if isinstance(hook, tuple):
            original = links[-min(hook[1], len(links))] if links else Link(NOWHERE, None, 0)
            parent = next(iter(way_to_the_root(links, original)), None)
            links.append(Link(UUID(int=number), parent and parent.message_id, number * 3, original.message_id))
        else:
            links.append(Link(UUID(int=number), parent_of(hook, len(links)), number * 3))
    return links


def parent_of(hook: str | int, before: int) -> UUID | None:
    match hook:
        case "root":
            return None
        case "line":
            return NIL_UUID
        case _ if before:
            return UUID(int=1 + (int(hook) - 1) % before)
        case _:
            return NOWHERE


def reading(links: Sequence[Link], page: int, seen: list[int]) -> Callable[[UUID, int], list[Link]]:
    def read(parent_id: UUID, before: int) -> list[Link]:
        if parent_id != NIL_UUID:
            before = next((link.position + 1 for link in links if link.message_id == parent_id), 0)
        found = [link for link in reversed(links) if link.position < before][:page]
        seen.append(len(found))
        return found

    return read


def way_to_the_root(links: Sequence[Link], leaf: Link) -> list[Link]:
    """The model: one step after another."""
    by_id = {link.message_id: link for link in links}
    way: list[Link] = []
    while leaf.parent_id is not None:
        earlier = [link for link in links if link.position < leaf.position]
        parent = said_last(earlier) if leaf.parent_id == NIL_UUID else by_id.get(leaf.parent_id)
        if parent is None:
            break
        way.append(parent)
        leaf = parent
    return way


def said_last(links: Sequence[Link]) -> Link | None:
    """The model: a replay of what stands last in the line takes its place, and every other one none."""
    last, replayed = None, set[UUID]()
    for link in links:
        if link.replayed_from is None:
            last, replayed = link, {link.message_id}
        elif link.replayed_from in replayed:
            last = link
            replayed.add(link.message_id)
    return last


@settings(max_examples=300, deadline=None)
@given(tree=trees, hook=hooks, page=st.integers(1, 7), longest=st.integers(0, 40))
def test_a_branch_is_the_way_to_the_root(tree, hook, page, longest) -> None:
    links = grown(tree)
    leaf = Link(UUID(int=500), parent_of(hook, len(links)), 1_000)
    seen: list[int] = []
    found = list(branch(leaf.parent_id, leaf.position, reading(links, page, seen), longest))
    assert found == way_to_the_root(links, leaf)[:longest]
    assert len(seen) <= len(found) + sum(link.replayed_from is not None for link in links) + 1


@given(st.integers(0, 40), st.integers(1, 7))
def test_a_line_is_read_page_by_page(length, page) -> None:
    links = grown([LINE] * length)
    seen: list[int] = []
    assert list(branch(NIL_UUID, 1_000, reading(links, page, seen), 100)) == links[::-1]
    assert len(seen) == -(-length // page) + 1


def test_no_more_pages_are_read_than_are_wanted() -> None:
    seen: list[int] = []
    ancestors = branch(NIL_UUID, 1_000, reading(grown([LINE] * 9), 3, seen), 100)
    assert not seen
    assert [next(ancestors).message_id.int for _ in range(4)] == [9, 8, 7, 6]
    assert len(seen) == 2


def test_a_root_in_between_is_no_ancestor() -> None:
    """Dify ends the walk at any message without a parent, and takes it for an ancestor."""
    links = grown([ROOT, 1, ROOT, 2])
    read = reading(links, 10, [])
    assert [link.message_id.int for link in branch(UUID(int=4), 1_000, read, 100)] == [4, 2, 1]
