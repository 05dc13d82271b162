"""A model that thinks in steps and uses tools on the way, through the pydantic-ai library."""

import asyncio
import importlib.util
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from chatledger.adapters.generator.agent_settings import OFFICIAL_URLS, AgentSettings, Provider
from chatledger.adapters.generator.agent_tools import calculate, current_time, write_table
from chatledger.adapters.generator.app_settings import read_settings
from chatledger.adapters.generator.document_library import DocumentLibrary, folder_of, require_folder
from chatledger.adapters.generator.small_texts import text_model_by
from chatledger.adapters.provider_access import ProviderAccess
from chatledger.application.ports.generator import GenerationRequest, GeneratorError, Part, SettingsError
from chatledger.application.ports.text_model import TextModel

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from chatledger.adapters.generator.agent_models import AgentModels
    from chatledger.adapters.generator.agent_run import AgentRuns

_BUILT_IN = (current_time, calculate, write_table)
_SEARCH = "search_documents"
_SDKS: Mapping[Provider, str] = {"openai": "openai", "anthropic": "anthropic", "google": "google.genai"}


class AgentGenerator:
    """Any of several providers, with tools: those that there always are, and those that a host brings along.

    The library is imported, off the event loop, when the first message is answered: it takes seconds of CPU.
    All apps share one pool of connections.

    Attributes:
        repeatable: whether a run may be repeated, calls of tools included.
        tool_names: what its tools are called by models, and in the settings of apps.
    """

    def __init__(
        self,
        *,
        name: str = "agent",
        tools: Sequence[Callable[..., Any]] = (),
        repeatable: bool | None = None,
        model: "Model | None" = None,
        base_urls: Mapping[Provider, str] | None = None,
        api_keys: Mapping[Provider, str] | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 120.0,
        tool_timeout: float = 60.0,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Bring tools along, and set the server's defaults.

        Args:
            name: what apps call the generator.
            tools: functions, plain or async, beside the built-in ones. What a model is told of one is its name, its
                docstring and the types of its arguments. One whose first argument is pydantic-ai's ``RunContext`` is
                given the ``GenerationRequest`` as its ``deps``. It returns what JSON can hold, or a ``ToolOutput``; it
                raises ``ToolError`` with words for the model. Plain functions run in a thread.
            repeatable: whether a run that was cut short by a crash or a failure may be repeated, calls of tools
                included. Without a word for it, only where there are none but the built-in tools, which change nothing.
            model: a model of pydantic-ai for apps that name none.
            base_urls: where providers are asked by apps that name no other address.
            api_keys: the keys for these addresses. Each is sent to its address's origin only.
            connect_timeout: seconds until a connection must stand.
            read_timeout: seconds that a provider may be silent for.
            tool_timeout: seconds that a tool may take.
            environment: where ``api_key_env`` is looked up, at each message.

        Raises:
            ValueError: an address is none, or two tools have one name.
        """
        self.name = name
        self.repeatable = not tools if repeatable is None else repeatable
        self._tools = tools
        self.tool_names = [*(tool.__name__ for tool in _BUILT_IN), _SEARCH, *(tool.__name__ for tool in tools)]
        if len(set(self.tool_names)) < len(self.tool_names):
            raise ValueError(f"tools: two have one name: {', '.join(sorted(self.tool_names))}")
        self._model = model
        base_urls, api_keys = base_urls or {}, api_keys or {}
        self._access = {
            provider: ProviderAccess(
                url, base_url=base_urls.get(provider), api_key=api_keys.get(provider), environment=environment
            )
            for provider, url in OFFICIAL_URLS.items()
        }
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._tool_timeout = tool_timeout
        self._library = DocumentLibrary()
        self._opening = asyncio.Lock()
        self._opened: tuple[AgentRuns, AgentModels] | None = None

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse what could not be asked, or not be done.

        Raises:
            SettingsError: the setting and the reason.
        """
        chosen = read_settings(AgentSettings, settings)
        if chosen.model is None and self._model is None:
            raise SettingsError("model: has to be named, as this agent has no model of its own")
        for tool in chosen.tools or ():
            if tool not in self.tool_names:
                raise SettingsError(f"tools: there is no {tool!r} among {', '.join(self.tool_names)}")
        require_folder(folder_of(chosen.folder))
        for package in ("pydantic_ai", *((_SDKS[chosen.provider],) if chosen.model else ())):
            if not _is_installed(package):
                raise SettingsError(f"agent needs the package {package}: install chatledger[agent]")

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - the port's
        """The app's settings as they are: a query cannot change them."""
        return settings

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        """Let a model think and call tools until it answers.

        Raises:
            GeneratorError: the settings are wrong, or the provider refused, failed, fell silent or broke off.
        """
        try:
            settings = read_settings(AgentSettings, request.settings)
        except SettingsError as error:
            raise GeneratorError("invalid", str(error)) from error
        access = self._access[settings.provider]
        base_url = settings.base_url or access.base_url
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncio.to_thread(self._open)
        runs, models = self._opened
        if settings.model is not None:
            key = access.key_for(base_url, settings.api_key_env)
            model = await models.model(settings.provider, settings.model, base_url, key)
        elif self._model is not None:
            model = self._model
        else:
            raise GeneratorError("invalid", "model: has to be named, as this agent has no model of its own")
        async with aclosing(runs.run(model, settings, request)) as parts:
            async for part in parts:
                yield part

    def text_model(self, settings: Mapping[str, Any]) -> TextModel:
        """The app's model, without the tools."""
        return text_model_by(self, settings, told_by="instructions", tools=(), max_steps=1)

    async def close(self) -> None:
        """Close all connections, and forget all folders."""
        await self._library.close()
        if self._opened is not None:
            await self._opened[1].close()
            self._opened = None

    def _open(self) -> "tuple[AgentRuns, AgentModels]":
        from chatledger.adapters.generator.agent_models import AgentModels  # noqa: PLC0415 - see the class
        from chatledger.adapters.generator.agent_run import AgentRuns, document_search  # noqa: PLC0415

        runs = AgentRuns((*_BUILT_IN, document_search(self._library), *self._tools), self._tool_timeout)
        return runs, AgentModels(self._connect_timeout, self._read_timeout)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False
