"""One run of an agent on the pydantic-ai library, as parts of an answer. Slow to import: see AgentGenerator."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec
from pydantic_ai import Agent, CallToolsNode, ModelRequestNode, RunContext, Tool
from pydantic_ai.exceptions import AgentRunError, ModelRetry, ToolFailed
from pydantic_ai.messages import (
    AgentStreamEvent,
    BinaryContent,
    FunctionToolResultEvent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolReturn,
    ToolReturnPart,
    UserContent,
)
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings
from pydantic_ai.toolsets import FunctionToolset, ToolsetTool, WrapperToolset

from chatledger.adapters.generator.agent_models import closing_responses, translate
from chatledger.adapters.generator.agent_settings import MAX_STEPS, AgentSettings
from chatledger.adapters.generator.agent_tools import ToolError, ToolOutput
from chatledger.adapters.generator.app_settings import read_settings
from chatledger.adapters.generator.document_library import DocumentLibrary, cited, folder_of
from chatledger.adapters.generator.file_parts import MOST_BYTES, cannot_be_given, text_of
from chatledger.adapters.generator.prompt import fill_prompt, question_of
from chatledger.adapters.provider_access import BROKEN_OFF, SILENT, UNREADABLE, storable
from chatledger.application.fault_report import describe
from chatledger.application.ports.generator import (
    Exchange,
    Finish,
    GenerationRequest,
    GeneratorError,
    GeneratorErrorKind,
    Part,
    Retrieved,
    SentFile,
    StepBegan,
    StepEnded,
    Text,
    TokenCount,
    ToolCall,
    ToolsReturned,
)
from chatledger.domain.values import FinishReason, Json

log = logging.getLogger(__name__)

TOOL_FAILED = "The tool failed."

_PASSAGES = 3
# For the others the library would fetch a picture itself, from wherever a user says.
_FETCH_PICTURES = frozenset(("openai", "openai-compatible", "anthropic"))

_FINISH_REASONS: dict[str | None, FinishReason] = {
    None: "stop",
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
}


class AgentRuns:
    """An agent with its tools, which any model may be."""

    def __init__(self, tools: Iterable[Callable[..., Any]], tool_timeout: float) -> None:
        self._agent = Agent(name="chatledger", deps_type=GenerationRequest)
        functions = FunctionToolset[GenerationRequest](
            [Tool(tool) for tool in tools], max_retries=MAX_STEPS, timeout=tool_timeout
        )
        self._tools = _OurTools(functions)

    async def run(
        self, model: Model, settings: AgentSettings, request: GenerationRequest
    ) -> AsyncGenerator[Part, None]:
        """Think and act step by step, as 4.4 of the contract has it.

        Raises:
            GeneratorError: the provider refused or failed, or the model cannot be made sense of.
        """
        failure = None
        try:
            async with aclosing(self._parts(model, settings, request)) as parts:
                async for part in parts:
                    yield part
        except AgentRunError as error:
            failure = translate(error)
        except _BrokenStreamError as error:
            failure = GeneratorError(error.kind, str(error))
        # Raised out here, as an error that names the library's as its cause would keep its readers alive.
        if failure is not None:
            raise failure

    async def _parts(
        self, model: Model, settings: AgentSettings, request: GenerationRequest
    ) -> AsyncGenerator[Part, None]:
        step, thought = 0, ""
        reason: str | None = None
        async with self._agent.iter(
            await _prompt(request, model),
            model=model,
            instructions=await fill_prompt(settings.instructions, request) or None,
            message_history=await _history(request, settings.history_limit),
            model_settings=lambda context: _model_settings(settings, context.run_step),
            toolsets=[self._tools.filtered(lambda _, tool: settings.tools is None or tool.name in settings.tools)],
            deps=request,
        ) as run:
            async for node in run:
                if isinstance(node, ModelRequestNode):
                    step += 1
                    thought = ""
                    yield StepBegan()
                    async with _reading(settings), closing_responses(), node.stream(run.ctx) as events:
                        async for event in events:
                            if text := storable(_text_of(event)):
                                thought += text
                                yield Text(text)
                elif isinstance(node, CallToolsNode):
                    response = node.model_response
                    reason = _finish_reason(response)
                    if reason is None and settings.model is not None:
                        raise GeneratorError("transient", BROKEN_OFF)
                    if run.usage.total_tokens:  # some servers count nothing
                        yield TokenCount(run.usage.input_tokens, run.usage.output_tokens)
                    may_call = step <= settings.max_steps
                    yield StepEnded(thought, _calls(response) if may_call else ())
                    if not may_call:
                        break
                    async with node.stream(run.ctx) as events:
                        returns = [event.part async for event in events if isinstance(event, FunctionToolResultEvent)]
                    for part in _parts_of(response, returns):
                        yield part
        yield Finish(_FINISH_REASONS.get(reason, "other"))


class _BrokenStreamError(Exception):
    """A provider has sent what its SDK or the library stumbles over, or nothing more."""

    def __init__(self, kind: GeneratorErrorKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: GeneratorErrorKind = kind


@asynccontextmanager
async def _reading(settings: AgentSettings) -> AsyncIterator[None]:
    """What is raised while a provider's stream is read is the provider's; a host's own model may be wrong itself."""
    try:
        yield
    except (AgentRunError, GeneratorError):
        raise
    except httpx2.TimeoutException:
        raise _BrokenStreamError("timeout", SILENT) from None
    except Exception as error:
        if settings.model is None:
            raise
        log.info("a provider's stream cannot be read: %s", describe(error))
        raise _BrokenStreamError("transient", UNREADABLE) from None


def document_search(library: DocumentLibrary) -> Callable[..., Any]:
    """The tool that looks things up in the folder of the app."""

    async def search_documents(context: RunContext[GenerationRequest], question: str) -> ToolOutput:
        """Find passages in the documents at hand.

        Args:
            context: of the run.
            question: what is looked for, in the words that a document would use.
        """
        folder = folder_of(read_settings(AgentSettings, context.deps.settings).folder)
        try:
            hits = await library.search(folder, question, _PASSAGES)
        except OSError as error:
            raise ToolError("The documents cannot be read.") from error
        passages = [
            {"document": hit.document.path, "title": hit.passage.title, "text": hit.passage.content} for hit in hits
        ]
        return ToolOutput(passages or "Nothing was found.", resources=cited(folder, hits))

    return search_documents


@dataclass
class _OurTools(WrapperToolset[GenerationRequest]):
    """Tools whose failures the model is told of, in their own words or in none, and that may make files."""

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],
        ctx: RunContext[GenerationRequest],
        tool: ToolsetTool[GenerationRequest],
    ) -> Any:
        try:
            result = await super().call_tool(name, tool_args, ctx, tool)
        except ToolError as error:
            raise ToolFailed(str(error)) from error
        except (AgentRunError, ModelRetry, ToolFailed):
            raise
        except Exception as error:
            log.warning("tool %s failed: %s", name, describe(error))
            raise ToolFailed(TOOL_FAILED) from error
        return ToolReturn(result.observation, metadata=result) if isinstance(result, ToolOutput) else result


def _model_settings(settings: AgentSettings, step: int) -> ModelSettings:
    chosen = ModelSettings(max_retries=0)
    if settings.temperature is not None:
        chosen["temperature"] = settings.temperature
    if settings.top_p is not None:
        chosen["top_p"] = settings.top_p
    if settings.max_tokens is not None:
        chosen["max_tokens"] = settings.max_tokens
    if step > settings.max_steps:
        # Not by leaving the tools out: some providers take no prompt with calls of tools that are not there.
        chosen["tool_choice"] = "none"
    return chosen


async def _prompt(request: GenerationRequest, model: Model) -> str | Sequence[UserContent]:
    question = question_of(request)
    # Some servers take nothing but a text.
    return [question, *[await _content(file, model) for file in request.files]] if request.files else question


async def _content(file: SentFile, model: Model) -> UserContent:
    """Pictures as they are, texts read out.

    Raises:
        GeneratorError: the model cannot be given the file.
    """
    if file.kind == "image" and file.url is not None and model.system in _FETCH_PICTURES:
        return ImageUrl(file.url)
    if file.url is None and (file.mime_type or "").startswith("image/"):
        return BinaryContent(await file.read(MOST_BYTES), media_type=file.mime_type or "")
    if (text := await text_of(file)) is not None:
        return text
    raise cannot_be_given(file)


async def _history(request: GenerationRequest, limit: int) -> Sequence[ModelMessage]:
    if request.mode == "completion" or not limit:
        return []
    return [message for exchange in await request.history(limit) for message in _messages(exchange)]


def _messages(exchange: Exchange) -> Sequence[ModelMessage]:
    return ModelRequest.user_text_prompt(exchange.query), ModelResponse([TextPart(exchange.answer)])


def _text_of(event: AgentStreamEvent) -> str:
    match event:
        case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def _finish_reason(response: ModelResponse) -> str | None:
    """Why the provider is done, if it has said so: a reason that the library knows, or its own."""
    return response.finish_reason or (response.provider_details or {}).get("finish_reason")


def _calls(response: ModelResponse) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(tool=call.tool_name, arguments=call.args_as_dict(), labels={"en_US": _label(call.tool_name)})
        for call in response.tool_calls
    )


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _parts_of(response: ModelResponse, returns: Sequence[ToolReturnPart]) -> Iterator[Part]:
    """What the tools made, then what they returned, in the order of their calls: they end in any."""
    if not response.tool_calls:
        return
    by_call = {part.tool_call_id: part for part in returns}
    ordered = [by_call.get(call.tool_call_id) for call in response.tool_calls]
    for output in (part.metadata for part in ordered if part is not None):
        if isinstance(output, ToolOutput):
            if output.resources:
                yield Retrieved(output.resources)
            yield from output.files
    yield ToolsReturned(tuple(None if part is None else _result(part) for part in ordered))


def _result(part: ToolReturnPart) -> Json:
    """What the model is told, as a value."""
    told = part.model_response_str()
    if isinstance(part.content, str) and part.outcome == "success":
        return told
    try:
        return msgspec.json.decode(told)
    except msgspec.DecodeError:
        return told
