"""Annotations as they are looked up."""

from typing import Protocol
from uuid import UUID

import msgspec


class AnnotationView(msgspec.Struct, frozen=True, kw_only=True):
    """An annotation, and how many messages it has answered. The time is in microseconds since the epoch."""

    annotation_id: UUID
    question: str
    answer: str
    hit_count: int
    created_at: int


class AnnotationViews(Protocol):
    """The annotations of apps."""

    async def annotation(self, app_id: UUID, annotation_id: UUID) -> AnnotationView | None:
        """One of an app's."""
        ...

    async def annotations(self, app_id: UUID) -> list[AnnotationView]:
        """All that an app has, newest first; there is a bound to their number."""
        ...
