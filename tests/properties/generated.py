"""Generated instances of any event type and of the types in its fields, from their annotations."""

from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from hypothesis import strategies as st

TEXTS = st.text(max_size=12)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    UUID: st.uuids(),
    int: INTEGERS,
    float: FLOATS,
    bool: st.booleans(),
    NoneType: st.none(),
    datetime: st.datetimes(timezones=st.just(UTC)),
}


@cache
def json_values(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | INTEGERS | FLOATS | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=6,
    )


def values_of(annotation: Any, texts: st.SearchStrategy[str] = TEXTS) -> st.SearchStrategy[Any]:
    """Values that an annotation allows. All text in them comes from ``texts``."""
    if annotation in SCALARS:
        return SCALARS[annotation]
    if annotation is str:
        return texts
    if annotation is Any:
        return json_values(texts)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return instances_of(annotation, texts, texts)
    return _values_of_parts(annotation, texts)


def _values_of_parts(annotation: Any, texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is Annotated:
        return values_of(arguments[0], texts)
    parts = [values_of(argument, texts) for argument in arguments if argument is not ...]
    if origin in {Union, UnionType}:
        return st.one_of(*parts)
    if origin is tuple and arguments[1:] == (...,):
        return st.lists(parts[0], max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(*parts, max_size=3)
    raise TypeError(f"no strategy for {annotation}")


@cache
def instances_of(
    body: type[msgspec.Struct], public_texts: st.SearchStrategy[str], sealed_texts: st.SearchStrategy[str]
) -> st.SearchStrategy[Any]:
    """Instances of a type, the text in its sealed fields from a source of its own."""
    hints = get_type_hints(body, include_extras=True)
    fields = {
        name: values_of(hints[name], sealed_texts if is_sealed(hints[name]) else public_texts)
        for name in body.__struct_fields__
    }
    return st.fixed_dictionaries(fields).map(lambda chosen: body(**chosen))


def is_sealed(hint: Any) -> bool:
    return any(
        isinstance(meta, msgspec.Meta) and (meta.extra or {}).get("visibility") == "sealed"
        for meta in getattr(hint, "__metadata__", ())
    )
