"""What is told beside an answer, where it is less than on the stream."""

import msgspec

from chatledger.adapters.http.metadata import simple_metadata
from chatledger.domain.values import Resource


def test_a_visitor_is_told_five_things_of_a_passage():
    full = Resource(position=1, dataset_id="d", document_name="a.md", segment_id="s", score=0.5, content="words")
    bare = Resource(position=2)
    (first, second) = msgspec.to_builtins(simple_metadata((full, bare)))["retriever_resources"]
    assert first == {"segment_id": "s", "position": 1, "document_name": "a.md", "score": 0.5, "content": "words"}
    assert second == {"segment_id": None, "position": 2, "document_name": None, "score": None, "content": None}
