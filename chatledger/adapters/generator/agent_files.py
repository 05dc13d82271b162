"""The files of a message for an agent: pictures, and what texts say. Slow to import, as the library is."""

from collections.abc import Sequence

from pydantic_ai.messages import BinaryContent, UserContent

from chatledger.adapters.generator.file_parts import MOST_BYTES, is_text, told
from chatledger.adapters.generator.prompt import question_of
from chatledger.application.ports.generator import GenerationRequest, GeneratorError, SentFile

_PICTURES = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
"""What all providers look at."""


async def user_content(request: GenerationRequest) -> str | Sequence[UserContent]:
    """What the end user says and shows.

    Raises:
        GeneratorError: an agent cannot be given one of the files, or it is too large.
    """
    question = question_of(request)
    if not request.files:
        return question
    return [question, *[await _content(file) for file in request.files]]


async def _content(file: SentFile) -> UserContent:
    """A file on the web is refused: for some providers the library would fetch it, from this very network."""
    if file.mime_type in _PICTURES:
        return BinaryContent(data=await file.read(MOST_BYTES), media_type=file.mime_type)
    if is_text(file):
        return await told(file)
    raise GeneratorError("invalid", f"The agent cannot be given the file {file.name}.")
