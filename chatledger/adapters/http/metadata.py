"""What is told beside an answer: what it rests on, who stands behind it, what it cost."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

import msgspec

from chatledger.application.ports.views import MessageView
from chatledger.domain.events import AnnotationMatched, MessageCompleted, MessageStopped
from chatledger.domain.values import Account, Resource, Usage


class RetrieverResource(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that the answer rests on."""

    id: UUID
    message_id: UUID
    position: int
    dataset_id: str | None
    dataset_name: str | None
    document_id: str | None
    document_name: str | None
    data_source_type: str | None
    segment_id: str | None
    retriever_from: str | None
    score: float | None
    hit_count: int | None
    word_count: int | None
    segment_position: int | None
    index_node_hash: str | None
    content: str | None
    page: int | None
    doc_metadata: dict[str, Any] | None
    title: str | None
    files: Sequence[dict[str, Any]] | None
    summary: str | None
    created_at: int | None = None


def retriever_resources(
    resources: Sequence[Resource], message_id: UUID, created_at: int | None = None
) -> list[RetrieverResource]:
    """Passages as the wire shows them. Their ids are derived, so that they are the same each time."""
    return [
        RetrieverResource(
            id=uuid5(message_id, str(resource.position)),
            message_id=message_id,
            created_at=created_at,
            **msgspec.structs.asdict(resource),
        )
        for resource in resources
    ]


class SimpleResource(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor of the app's page is told of a passage beside a whole answer."""

    segment_id: str | None
    position: int
    document_name: str | None
    score: float | None
    content: str | None


class AnnotationReply(msgspec.Struct, frozen=True):
    """The annotation that answered, and who stands behind it."""

    id: UUID
    account: Account


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What is told beside an answer."""

    annotation_reply: AnnotationReply | None
    retriever_resources: Sequence[RetrieverResource]
    usage: Usage


class SimpleMetadata(msgspec.Struct, frozen=True):
    """What a visitor of the app's page is told beside a whole answer."""

    retriever_resources: Sequence[SimpleResource]


def answer_metadata(
    resources: Sequence[RetrieverResource],
    matched: AnnotationMatched | None,
    end: MessageCompleted | MessageStopped,
) -> dict[str, Any]:
    """What is told beside a whole answer, with how it came to its end."""
    reply = _annotation_reply(matched.annotation_id, matched.account) if matched else None
    metadata = Metadata(annotation_reply=reply, retriever_resources=resources, usage=end.usage)
    told = msgspec.structs.asdict(metadata)
    if isinstance(end, MessageStopped):
        return told | {"status": "stopped", "stopped_by": end.by}
    return told | {"status": "completed", "finish_reason": end.finish_reason}


def simple_metadata(resources: Sequence[Resource]) -> SimpleMetadata:
    """What a visitor is told."""
    return SimpleMetadata([msgspec.convert(resource, SimpleResource, from_attributes=True) for resource in resources])


def stored_metadata(view: MessageView, resources: Sequence[RetrieverResource]) -> Metadata:
    """What is told beside a message of the history, with the passages that its reader may see."""
    return Metadata(
        annotation_reply=_annotation_reply(view.annotation_id, view.annotation_account),
        retriever_resources=resources,
        usage=view.usage or Usage(),
    )


def _annotation_reply(annotation_id: UUID | None, account: Account | None) -> AnnotationReply | None:
    return None if annotation_id is None or account is None else AnnotationReply(annotation_id, account)
