"""A moderator that asks the moderation endpoint of OpenAI's protocol, at the server's own provider."""

import msgspec

from chatledger.adapters.openai_clients import OpenAIClients
from chatledger.application.ports.generator import SettingsError
from chatledger.application.ports.moderator import AnsweredDirectly, Passed, Verdict
from chatledger.domain.configuration import WordAvoidance
from chatledger.domain.values import ModerationStage

DEFAULT_MODEL = "omni-moderation-latest"


class _Result(msgspec.Struct, frozen=True):
    flagged: bool


class _Response(msgspec.Struct, frozen=True):
    """What is read of a response. The SDK passes on whatever shape came, so it is checked here."""

    results: tuple[_Result, ...]


class OpenAIModerator:
    """Sees a text in the whole of what comes before it, and says of it yes or no: it cannot say what to leave out."""

    name = "openai_moderation"
    cadence = 300

    def __init__(self, clients: OpenAIClients) -> None:
        self._clients = clients

    def check_settings(self, avoidance: WordAvoidance) -> None:
        """Refuse what the endpoint has no use for, and everything where there is no provider.

        Raises:
            SettingsError: the setting and the reason.
        """
        if avoidance.keywords:
            raise SettingsError("keywords: the type openai_moderation takes none")
        for name, setting in (("inputs_config", avoidance.inputs_config), ("outputs_config", avoidance.outputs_config)):
            if setting.action == "overridden":
                raise SettingsError(f"{name}.action: the type openai_moderation can only be direct_output")
        if not self._clients.has_provider:
            raise SettingsError("type: openai_moderation needs a provider: the server's openai_api_key")

    async def prepare(self) -> None:
        """Load the SDK.

        Raises:
            GeneratorError: there is no key where one is needed.
        """
        await self._clients.client()

    async def judge(self, stage: ModerationStage, text: str, avoidance: WordAvoidance, judged: int = 0) -> Verdict:  # noqa: ARG002 - the port's
        """Ask.

        Raises:
            GeneratorError: the provider refused or failed.
        """
        if not text.strip():
            return Passed()
        async with self._clients.asking() as (client, headers):
            given = await client.moderations.create(
                input=text, model=avoidance.model or DEFAULT_MODEL, extra_headers=headers
            )
            response = msgspec.convert(given, _Response, from_attributes=True)
        if any(result.flagged for result in response.results):
            return AnsweredDirectly(avoidance.at(stage).preset_response)
        return Passed()
