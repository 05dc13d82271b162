"""Every field of every event says who may read it without a key.

``Public`` fields are stored as plain JSON. ``Sealed`` fields are encrypted under the data key of their stream before
they reach any disk; whatever a person wrote, was answered or can be recognised by is sealed.
"""

from functools import cache
from typing import Annotated, Literal, TypeVar, get_type_hints

import msgspec

T = TypeVar("T")

Public = Annotated[T, msgspec.Meta(extra={"visibility": "public"})]
Sealed = Annotated[T, msgspec.Meta(extra={"visibility": "sealed"})]

Visibility = Literal["public", "sealed"]


class UndeclaredFieldError(TypeError):
    """A field of an event type is neither ``Public`` nor ``Sealed``."""


@cache
def visibilities(body: type[msgspec.Struct]) -> dict[str, Visibility]:
    """The visibility of each field of an event type, in the order of its fields.

    Raises:
        UndeclaredFieldError: a field carries no declaration.
    """
    hints = get_type_hints(body, include_extras=True)
    found: dict[str, Visibility] = {}
    for field in body.__struct_fields__:
        declared = [
            meta.extra["visibility"]
            for meta in getattr(hints[field], "__metadata__", ())
            if isinstance(meta, msgspec.Meta) and meta.extra and "visibility" in meta.extra
        ]
        if len(declared) != 1:
            raise UndeclaredFieldError(f"{body.__name__}.{field} must be declared Public or Sealed")
        found[field] = declared[0]
    return found
