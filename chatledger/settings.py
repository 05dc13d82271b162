"""All settings of a server, in one place: from the environment, then from a TOML file."""

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "CHATLEDGER_"
CONFIG_FILE = f"{PREFIX}CONFIG"


class SettingsProblemError(ValueError):
    """A setting is unknown or impossible; the text is one line that names it."""


class Settings(BaseSettings):
    """Each one is an environment variable with the prefix ``CHATLEDGER_``, or a key of the TOML file.

    The file is the one that ``CHATLEDGER_CONFIG`` names, else ``chatledger.toml`` in the working directory if it is
    there. Times are seconds unless the name says otherwise.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", validate_default=False)

    data_dir: Path = Path("chatledger-data")
    database_url: str | None = None
    """Where the ledger is: ``sqlite:///file``; ``ledger.db`` in the data folder by default."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    http_server: Literal["granian", "uvicorn"] = "granian"
    worker_name: str = "worker-1"

    durability: Literal["full", "relaxed"] = "full"
    """``relaxed`` syncs less often: a power cut may cost the last commits; a crash of the process costs nothing."""
    flush_interval_ms: float = Field(default=50, ge=0, le=10_000)
    worker_concurrency: int = Field(default=2_000, ge=1)
    lease: float = Field(default=5, gt=0)
    heartbeat: float = Field(default=1, gt=0)
    attempts: int = Field(default=3, ge=1)
    first_retry_delay: float = Field(default=0.5, ge=0)
    longest_retry_delay: float = Field(default=30, ge=0)
    generation_timeout: float = Field(default=1_200, gt=0)
    shutdown_grace: float = Field(default=30, ge=0)

    ping_interval: float = Field(default=10, gt=0)
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024)
    max_json_depth: int = Field(default=32, ge=2)
    max_query_characters: int = Field(default=100_000, ge=1)
    max_open_streams: int = Field(default=10_000, ge=1)

    openai_base_url: str | None = None
    openai_api_key: SecretStr | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.database_url is not None and not self.database_url.startswith("sqlite:///"):
            raise ValueError("database_url: this release stores its ledger in SQLite: sqlite:///path/to/file")
        if self.heartbeat >= self.lease:
            raise ValueError("heartbeat: must be shorter than the lease")
        return self

    @property
    def database_path(self) -> Path:
        """The SQLite file of the ledger."""
        if self.database_url is None:
            return self.data_dir / "ledger.db"
        return Path(self.database_url.removeprefix("sqlite:///"))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before the environment before the file."""
        file = Path(os.environ.get(CONFIG_FILE, "chatledger.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)


def load_settings(**overrides: Any) -> Settings:
    """The settings in force.

    Raises:
        SettingsProblemError: one of them is unknown or impossible.
    """
    config = os.environ.get(CONFIG_FILE)
    if config is not None and not Path(config).is_file():
        raise SettingsProblemError(f"{CONFIG_FILE}: there is no file {config}")
    known = {CONFIG_FILE} | {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known:
            raise SettingsProblemError(f"{variable}: no such setting")
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        reason = str(first["msg"]).removeprefix("Value error, ")
        raise SettingsProblemError(f"{name}: {reason}" if name else reason) from None
    except ValueError as error:
        raise SettingsProblemError(f"{config or 'chatledger.toml'}: {error}".replace("\n", " ")) from None
