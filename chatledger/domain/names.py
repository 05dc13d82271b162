"""The names of conversations, made from their first question or by a model."""

import re

UNNAMED = "New conversation"

_HINT = 20
_LINE = 50
_TITLE = 75
_LONG_QUERY = 2_000
_KEPT_OF_LONG_QUERY = 300
_DOTS = "..."
_QUOTED = re.compile(r"""["“”„«»「」*`]+([^"“”„«»「」*`]+)["“”„«»「」*`]+""")
_THOUGHTS = re.compile(r".*</think>", re.DOTALL)


def hint_of(query: str) -> str:
    """The name that a conversation begins with: the start of its first question."""
    text = query.strip()
    if not text:
        return UNNAMED
    return text if len(text) <= _HINT else text[:_HINT] + "…"


def line_of(query: str) -> str:
    """The name where no model finds one: the first question, in a line."""
    return _shortened(query.strip(), _LINE) or UNNAMED


def question_to_name(query: str) -> str:
    """As much of the first question as a model needs to find a name for it: of a long one the two ends."""
    if len(query) <= _LONG_QUERY:
        return query
    return f"{query[:_KEPT_OF_LONG_QUERY]}{_DOTS}{query[-_KEPT_OF_LONG_QUERY:]}"


def title_in(reply: str) -> str:
    """The title in a model's reply, on one line; empty where there is none."""
    spoken = _THOUGHTS.sub("", reply).strip()
    line = " ".join(spoken.splitlines()[0].split()) if spoken else ""
    quoted = _QUOTED.fullmatch(line)
    return _shortened(quoted[1].strip() if quoted else line, _TITLE)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - len(_DOTS)] + _DOTS
