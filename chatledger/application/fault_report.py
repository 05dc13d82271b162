"""Telling of an unexpected failure without telling what anybody wrote: texts of exceptions may quote it."""

import traceback


def describe(error: BaseException) -> str:
    """The type of an error and the places that it came through, innermost last, on one line."""
    places = [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in traceback.extract_tb(error.__traceback__)]
    return f"{type(error).__name__} in {' > '.join(places[-6:])}"
