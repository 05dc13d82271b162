"""The objects that travel on the wire, and how they are made of what the application knows."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from chatledger.adapters.http.agent_thoughts import AgentThought, agent_thoughts
from chatledger.adapters.http.answers import epoch_seconds
from chatledger.adapters.http.files import Link, MessageFileObject, inputs_with_files, message_files
from chatledger.adapters.http.metadata import Metadata, RetrieverResource, retriever_resources, stored_metadata
from chatledger.application.caller import Reader
from chatledger.application.disclosure import error_text, shows_resources
from chatledger.application.ports.views import ConversationView, FeedbackView, MessageView
from chatledger.domain.values import Usage

Erased = Literal[True] | msgspec.UnsetType
"""The mark of an object of which nothing is left but its place in a list. The others have no such field."""


def mark_of(view: MessageView | ConversationView | FeedbackView) -> Erased:
    """The mark of an object, if it has one."""
    return True if view.is_erased else msgspec.UNSET


class OwnFeedback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end user's own rating. ``content`` is there only where there is a text."""

    rating: str
    content: str | None = None


class MessageObject(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the history. Times are epoch seconds, prices decimals in strings.

    Of one that is ``erased`` the texts are empty, and there are no inputs, files, passages or steps.
    """

    id: UUID
    conversation_id: UUID
    parent_message_id: UUID | None
    inputs: dict[str, Any]
    query: str
    answer: str
    message_files: Sequence[MessageFileObject]
    feedback: OwnFeedback | None
    retriever_resources: Sequence[RetrieverResource]
    created_at: int
    agent_thoughts: Sequence[AgentThought]
    status: str
    error: str | None
    message_tokens: int
    answer_tokens: int
    total_tokens: int
    provider_response_latency: float
    total_price: str | None
    currency: str | None
    metadata: Metadata
    extra_contents: tuple[()] = ()
    erased: Erased = msgspec.UNSET


def message_object(view: MessageView, reader: Reader, link: Link) -> MessageObject:
    """A message as history shows it to this reader, with such links to its files."""
    usage = view.usage or Usage()
    created_at = epoch_seconds(view.created_at)
    resources = retriever_resources(view.resources, view.message_id, created_at) if shows_resources(reader) else []
    feedback = OwnFeedback(rating=view.feedback, content=view.feedback_content or None) if view.feedback else None
    return MessageObject(
        id=view.message_id,
        conversation_id=view.conversation_id,
        parent_message_id=view.parent_id,
        inputs=inputs_with_files(view.inputs, view.query_files, link),
        query=view.query,
        answer=view.answer,
        message_files=message_files((*view.query_files, *view.answer_files), link),
        feedback=feedback,
        retriever_resources=resources,
        created_at=created_at,
        agent_thoughts=agent_thoughts(view.thoughts, view.message_id, created_at),
        status="error" if view.state == "errored" else "normal",
        error=error_text(reader, view.error_code, view.error),
        message_tokens=usage.prompt_tokens,
        answer_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        provider_response_latency=usage.latency,
        total_price=None if view.usage is None else usage.total_price,
        currency=None if view.usage is None else usage.currency,
        metadata=stored_metadata(view, resources),
        erased=mark_of(view),
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
