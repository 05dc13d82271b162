"""The prompt: what a generator is asked, made from what the end user gave."""

from chatledger.application.ports.generator import GenerationRequest
from chatledger.domain.inputs import fill_in, input_text


def question_of(request: GenerationRequest) -> str:
    """The query or, where a completion app has none, the values of its inputs, one to a line."""
    if request.query or request.mode != "completion":
        return request.query
    return "\n".join(text for value in request.inputs.values() if (text := input_text(value)))


async def fill_prompt(template: str, request: GenerationRequest) -> str:
    """Put the inputs into their ``{{variable}}`` places, and the conversation's variables into the others."""
    if "{{" not in template:
        return template
    return fill_in(template, {**await request.variables(), **request.inputs})
