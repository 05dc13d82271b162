"""The objects that travel on the wire, and how they are made of what the application knows."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

import msgspec

from chatledger.adapters.http.answers import epoch_seconds
from chatledger.adapters.http.disclosure import error_text, shows_resources
from chatledger.application.caller import Reader
from chatledger.application.ports.views import MessageView
from chatledger.domain.events import MessageCompleted, MessageStopped
from chatledger.domain.values import Resource, Usage


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
    score: float | None
    word_count: int | None
    segment_position: int | None
    content: str | None
    title: str | None
    retriever_from: str | None = None
    hit_count: int | None = None
    index_node_hash: str | None = None
    page: int | None = None
    doc_metadata: dict[str, Any] | None = None
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


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What is told beside an answer."""

    annotation_reply: None = None
    retriever_resources: Sequence[RetrieverResource]
    usage: Usage


def answer_metadata(resources: Sequence[RetrieverResource], end: MessageCompleted | MessageStopped) -> dict[str, Any]:
    """What is told beside a whole answer, with how it came to its end."""
    metadata = msgspec.structs.asdict(Metadata(retriever_resources=resources, usage=end.usage))
    if isinstance(end, MessageStopped):
        return metadata | {"status": "stopped", "stopped_by": end.by}
    return metadata | {"status": "completed", "finish_reason": end.finish_reason}


class OwnFeedback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end user's own rating. ``content`` is there only where there is a text."""

    rating: str
    content: str | None = None


class MessageObject(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the history. Times are epoch seconds, prices decimals in strings."""

    id: UUID
    conversation_id: UUID
    parent_message_id: UUID | None
    inputs: dict[str, Any]
    query: str
    answer: str
    message_files: tuple[()] = ()
    feedback: OwnFeedback | None
    retriever_resources: Sequence[RetrieverResource]
    created_at: int
    agent_thoughts: tuple[()] = ()
    status: str
    error: str | None
    message_tokens: int
    answer_tokens: int
    total_tokens: int
    provider_response_latency: float
    total_price: str | None
    currency: str | None
    extra_contents: tuple[()] = ()


def message_object(view: MessageView, reader: Reader) -> MessageObject:
    """A message as history shows it to this reader."""
    usage = view.usage or Usage()
    created_at = epoch_seconds(view.created_at)
    resources = retriever_resources(view.resources, view.message_id, created_at) if shows_resources(reader) else []
    feedback = OwnFeedback(rating=view.feedback, content=view.feedback_content or None) if view.feedback else None
    return MessageObject(
        id=view.message_id,
        conversation_id=view.conversation_id,
        parent_message_id=view.parent_id,
        inputs=view.inputs,
        query=view.query,
        answer=view.answer,
        feedback=feedback,
        retriever_resources=resources,
        created_at=created_at,
        status="error" if view.state == "errored" else "normal",
        error=error_text(reader, view.error_code, view.error),
        message_tokens=usage.prompt_tokens,
        answer_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        provider_response_latency=usage.latency,
        total_price=None if view.usage is None else usage.total_price,
        currency=None if view.usage is None else usage.currency,
    )


class MessagePage(msgspec.Struct, frozen=True):
    """A page of history, oldest first."""

    limit: int
    has_more: bool
    data: Sequence[MessageObject]


class Success(msgspec.Struct, frozen=True):
    """It is done."""

    result: str = "success"


SUCCESS = Success()
