"""The steps of an agent, as the stream and the history show them."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from chatledger.domain.events import AgentThoughtRecorded
from chatledger.domain.values import Thought


class ThoughtFrame(msgspec.Struct, frozen=True, kw_only=True):
    """The own fields of an ``agent_thought`` event. ``tool_input`` and ``observation`` are JSON in a string."""

    id: UUID
    position: int
    thought: str
    observation: str
    tool: str
    tool_labels: Mapping[str, Mapping[str, str]]
    tool_input: str
    message_files: Sequence[UUID]


def thought_frame(recorded: AgentThoughtRecorded) -> ThoughtFrame:
    """A step as far as it had come."""
    return ThoughtFrame(
        id=recorded.thought_id,
        position=recorded.position,
        thought=recorded.thought,
        observation=recorded.observation,
        tool=recorded.tool,
        tool_labels=recorded.tool_labels,
        tool_input=recorded.tool_input,
        message_files=recorded.files,
    )


class AgentThought(ThoughtFrame, frozen=True, kw_only=True):
    """A step in the history. The ids of its files stand under both names that clients read them by."""

    chain_id: None = None
    message_id: UUID
    created_at: int
    files: Sequence[UUID]


def agent_thoughts(thoughts: Sequence[Thought], message_id: UUID, created_at: int) -> Sequence[AgentThought]:
    """The steps of a message. Their time is the message's: what is kept of a step has none of its own."""
    return [
        AgentThought(
            id=thought.thought_id,
            message_id=message_id,
            position=thought.position,
            thought=thought.thought,
            tool=thought.tool,
            tool_labels=thought.tool_labels,
            tool_input=thought.tool_input,
            observation=thought.observation,
            created_at=created_at,
            files=thought.files,
            message_files=thought.files,
        )
        for thought in sorted(thoughts, key=lambda thought: thought.position)
    ]
