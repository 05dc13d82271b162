"""A generator of answers, asked for a small text."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from chatledger.application.ports.generator import Exchange, GenerationRequest, Generator, Text
from chatledger.application.ports.text_model import TextModel, TextRequest
from chatledger.domain.values import NIL_UUID


def text_model_by(generator: Generator, settings: Mapping[str, Any]) -> TextModel:
    """What a generator answers under these settings, asked without a history.

    It is told what to do, and how long it may get, by its settings ``system_prompt`` and ``max_tokens``; the words that
    would end an answer do not end it.
    """

    async def write(request: TextRequest) -> str:
        own = {"system_prompt": request.instruction, "max_tokens": request.max_tokens, "stop": None}
        asked = GenerationRequest(
            message_id=NIL_UUID,
            attempt=1,
            mode="completion",
            query=request.text,
            inputs={},
            settings={**settings, **own},
            history=_no_history,
        )
        async with aclosing(generator.generate(asked)) as parts:
            return "".join([part.text async for part in parts if isinstance(part, Text)])

    return write


async def _no_history() -> Sequence[Exchange]:
    return ()
