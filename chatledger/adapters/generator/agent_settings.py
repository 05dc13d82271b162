"""What an app may set about its agent."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from chatledger.adapters.openai_clients import DEFAULT_BASE_URL
from chatledger.adapters.provider_access import check_access

Provider = Literal["openai", "anthropic", "google"]

OFFICIAL_URLS: Mapping[Provider, str] = {
    "openai": DEFAULT_BASE_URL,
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
}

MAX_STEPS = 5

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model, where to ask it and how, and what it may use.

    Attributes:
        provider: whose protocol the model is asked by.
        model: the model's name; without one the model that the host brought along, if it did.
        base_url: where the provider's API begins; without it the server's default.
        api_key_env: the name of the environment variable of the server that holds the key. The key itself would
            stand on the ledger for ever.
        instructions: what the agent is told before anything else; ``{{variable}}`` stands for an input of that name or,
            without one, for the conversation's variable.
        max_steps: how many steps may call tools. One more follows, without tools, if the last of them did.
        tools: the names of those that it may call; all that there are, if nothing is said.
        folder: where ``search_documents`` looks; chatledger's own documentation if there is none.
        history_limit: how many earlier exchanges go into the prompt at most, the latest ones.
    """

    provider: Provider = "openai"
    model: NonEmpty | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    instructions: str = ""
    max_steps: Annotated[int, msgspec.Meta(ge=1, le=MAX_STEPS)] = MAX_STEPS
    tools: tuple[NonEmpty, ...] | None = None
    folder: NonEmpty | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    history_limit: Annotated[int, msgspec.Meta(ge=0, le=500)] = 20

    def __post_init__(self) -> None:
        """Refuse addresses and names that could not work, or that would put a secret on the ledger.

        Raises:
            ValueError: the setting and the reason.
        """
        check_access(self.base_url, self.api_key_env)
