"""A generator of answers, asked for a small text."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from chatledger.application.ports.generator import Exchange, GenerationRequest, Generator, Text
from chatledger.application.ports.text_model import TextModel, TextRequest
from chatledger.domain.values import NIL_UUID


def text_model_by(
    generator: Generator, settings: Mapping[str, Any], *, told_by: str = "system_prompt", **fixed: Any
) -> TextModel:
    """What a generator answers under an app's settings, asked without a history.

    Args:
        generator: which has ``max_tokens`` among its settings.
        settings: the app's.
        told_by: the name of the setting that says what to do.
        fixed: settings that are made for answers, and what they are here.
    """

    async def write(request: TextRequest) -> str:
        own = {told_by: request.instruction, "max_tokens": request.max_tokens, **fixed}
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


async def _no_history(most: int | None = None) -> Sequence[Exchange]:  # noqa: ARG001 - as the protocol has it
    return ()
