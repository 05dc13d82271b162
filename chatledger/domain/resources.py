"""The passages that an answer rests on, as one list, however often something was looked up for it."""

from collections.abc import Iterable

import msgspec

from chatledger.domain.values import Resource


def merged(*retrievals: Iterable[Resource]) -> tuple[Resource, ...]:
    """All of these in their order, each document of a dataset once, their positions counted from 1.

    A passage that names no document is one of its own.
    """
    kept: list[Resource] = []
    seen: set[tuple[str | None, str]] = set()
    for resource in (resource for retrieved in retrievals for resource in retrieved):
        if resource.document_id is not None:
            place = (resource.dataset_id, resource.document_id)
            if place in seen:
                continue
            seen.add(place)
        kept.append(msgspec.structs.replace(resource, position=len(kept) + 1))
    return tuple(kept)
