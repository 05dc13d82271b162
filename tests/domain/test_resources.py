from chatledger.domain.resources import merged
from chatledger.domain.values import Resource


def passage(position: int, document: str | None, dataset: str | None = "d", **more: object) -> Resource:
    return Resource(position=position, dataset_id=dataset, document_id=document, **more)


def test_nothing_is_no_passages():
    assert merged() == merged((), ()) == ()


def test_positions_count_from_one_over_all_retrievals():
    one, other = (passage(1, "a"), passage(2, "b")), (passage(1, "c"),)
    assert merged(one, other) == (passage(1, "a"), passage(2, "b"), passage(3, "c"))


def test_a_second_hit_in_a_document_is_dropped():
    one, other = (passage(1, "a", content="first"), passage(2, "a")), (passage(1, "a"), passage(2, "b"))
    assert merged(one, other) == (passage(1, "a", content="first"), passage(2, "b"))


def test_documents_of_two_datasets_are_two():
    assert len(merged((passage(1, "a", "d"), passage(2, "a", "e"), passage(3, "a", None)))) == 3


def test_passages_without_a_document_are_each_their_own():
    assert [resource.position for resource in merged((passage(7, None), passage(7, None)))] == [1, 2]


def test_merging_again_changes_nothing():
    once = merged((passage(4, "a"), passage(5, None)), (passage(1, "a"), passage(9, "b")))
    assert merged(once) == once
