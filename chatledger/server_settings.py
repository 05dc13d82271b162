"""The settings of a server: from its options, then from the environment, then from a TOML file."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from chatledger.settings import (
    BLOCKED_EXTENSIONS,
    Extensions,
    NatsUrls,
    Networks,
    NotEmpty,
    ProviderAddress,
    Settings,
    SettingsProblemError,
)

PREFIX = "CHATLEDGER_"
CONFIG_FILE = f"{PREFIX}CONFIG"
DEFAULT_CONFIG_FILE = "chatledger.toml"

ANY_ORIGIN = "*"


def _listed(value: Any) -> Any:
    """A variable of the environment lists its values between commas."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Origins as a browser sends them (RFC 6454, section 6.2): anything else would never match."""
    for origin in origins:
        if origin != ANY_ORIGIN and not _is_origin(origin):
            raise ValueError(f"{origin!r} is no origin: it is * or scheme://host[:port], in lower case")
    return origins


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        plain = f"{parts.scheme}://{parts.netloc}"
        has_port = parts.port is None or 0 < parts.port < 65_536
    except ValueError:
        return False
    return bool(parts.scheme and parts.hostname) and has_port and text == plain.lower() and not {"@", "*"} & set(text)


Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_origins)]


class ServerSettings(Settings, BaseSettings):
    """What a server needs to know beside; :func:`load_settings` finds it all.

    Each one is an environment variable with the prefix ``CHATLEDGER_``, or a key of the TOML file. The file is the one
    that ``CHATLEDGER_CONFIG`` names, else ``chatledger.toml`` in the working directory if it is there.
    """

    # The library's own type of it is a narrower dictionary than that of a model.
    model_config = SettingsConfigDict(  # pyrefly: ignore[bad-override]
        frozen=True, extra="forbid", allow_inf_nan=False, env_prefix=PREFIX, validate_default=False
    )

    host: NotEmpty = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    http_server: Literal["granian", "uvicorn"] = "granian"
    drain_delay: float = Field(default=0, ge=0)
    """Seconds of the grace in which new work is still let in, while balancers learn that there is to be none."""

    ping_interval: float = Field(default=10, gt=0)
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024)
    max_json_depth: int = Field(default=32, ge=2, le=500)
    max_open_streams: int = Field(default=10_000, ge=1)
    requests_per_minute: int = Field(default=0, ge=0, le=1_000_000)
    user_requests_per_minute: int = Field(default=0, ge=0, le=1_000_000)

    nats_url: Annotated[NatsUrls, NoDecode, BeforeValidator(_listed)] = ()
    cors_origins: Origins = ()
    public_url: ProviderAddress | None = None
    """Where clients find the server: what links to files begin with. Without it, what each request says."""

    blocked_file_extensions: Annotated[Extensions, NoDecode, BeforeValidator(_listed)] = BLOCKED_EXTENSIONS
    webhook_allowed_networks: Annotated[Networks, NoDecode, BeforeValidator(_listed)] = ()
    passport_lifetime: float = Field(default=30 * 24 * 3_600, ge=60)

    @model_validator(mode="after")
    def _has_time_to_drain(self) -> Self:
        if self.drain_delay > self.shutdown_grace:
            raise ValueError("drain_delay: must not be longer than shutdown_grace, of which it is the beginning")
        return self

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
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _file())


def load_settings(**overrides: Any) -> ServerSettings:
    """The settings in force, with these overrides where they are not None.

    Raises:
        SettingsProblemError: one of them is unknown or impossible.
    """
    config = os.environ.get(CONFIG_FILE)
    if config is not None and not Path(config).is_file():
        raise SettingsProblemError(f"{CONFIG_FILE}: there is no file {config}")
    _check_variables()
    _check_file(_file())
    return ServerSettings(**{name: value for name, value in overrides.items() if value is not None})


def _file() -> Path:
    return Path(os.environ.get(CONFIG_FILE, DEFAULT_CONFIG_FILE))


def _check_variables() -> None:
    """Whatever looks like one of ours has to be one; in capitals, so that there is one of each."""
    known = {CONFIG_FILE} | {f"{PREFIX}{name.upper()}" for name in ServerSettings.model_fields}
    for variable in os.environ:
        capitals = variable.upper()
        if capitals.startswith(PREFIX) and variable not in known:
            hint = f": it is {capitals}, in capitals" if capitals in known else ""
            raise SettingsProblemError(f"{variable}: no such setting{hint}")


def _check_file(file: Path) -> None:
    """Whatever stands in the file has to be one too."""
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsProblemError(f"{file}: {reason}".replace("\n", " ")) from None
    for name in given:
        if name not in ServerSettings.model_fields:
            raise SettingsProblemError(f"{file}: {name}: no such setting")
