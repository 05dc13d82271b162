"""All settings in one place: those of any chatledger, those of a server, and where a server finds them."""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

PREFIX = "CHATLEDGER_"
CONFIG_FILE = f"{PREFIX}CONFIG"
DEFAULT_CONFIG_FILE = "chatledger.toml"

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


class SettingsProblemError(Exception):
    """A setting is unknown or impossible; the text is one line that names it."""


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _folder(path: Path) -> Path:
    """A folder that is there, or that could be: what stands nearest above it is one."""
    try:
        nearest = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
        could_be = "\0" not in str(path) and nearest.is_dir()
    except OSError:
        could_be = False
    if not could_be:
        raise ValueError(f"{path} cannot be a folder")
    return path


def _database_url(url: str) -> str:
    """The reasons quote nothing of a server's address: it may hold a password."""
    if url.startswith(POSTGRES):
        return _postgres_url(url)
    file = url.removeprefix(SQLITE)
    if file == url:
        raise ValueError("must be sqlite:///path/to/file or postgresql://user@host:port/database")
    if not file.strip() or file == ":memory:":
        raise ValueError("a ledger needs a file: sqlite:///path/to/file")
    path = Path(file)
    _folder(path.parent)
    try:
        could_be = "\0" not in file and not path.is_dir()
    except OSError:
        could_be = False
    if not could_be:
        raise ValueError(f"{path} cannot be a file")
    return url


def _postgres_url(url: str) -> str:
    try:
        from psycopg import ProgrammingError  # noqa: PLC0415 - an extra, and slow to import
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ValueError("PostgreSQL needs the extra `postgres`: install chatledger[postgres]") from None
    try:
        names_database = bool(conninfo_to_dict(url).get("dbname"))
    except ProgrammingError:
        raise ValueError("is no address: postgresql://user@host:port/database") from None
    if not names_database:
        raise ValueError("must name a database: postgresql://user@host:port/database")
    return url


def _provider_address(url: str) -> str:
    """The rule of the generator for its base_url. The reasons quote nothing: an address may hold a password."""
    try:
        parts = urlsplit(url)
        port_is_possible = parts.port != 0
    except ValueError:
        raise ValueError("is no address") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_possible:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("may hold no user name, password, query or fragment")
    return url


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "data_dir": _folder,
    "database_url": _database_url,
    "worker_name": _not_empty,
    "host": _not_empty,
    "openai_base_url": _provider_address,
}
"""What a value has to be beside its type. A check gives the value, or a reason that quotes no secret."""

_LONGEST = 1e9
"""Seconds; some thirty years."""

NotNegative = Annotated[float, Meta(ge=0, le=_LONGEST)]
Positive = Annotated[float, Meta(gt=0, le=_LONGEST)]
AtLeastOne = Annotated[int, Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every chatledger needs to know, in a host's process or in a server.

    Times are seconds unless the name says otherwise. What is given is all: no environment and no file is read here.

    Raises:
        SettingsProblemError: one of them is impossible.
    """

    data_dir: Path = Path("chatledger-data")
    database_url: str | None = None
    """Where the ledger is: ``sqlite:///file``, or ``postgresql://user@host:port/database``; ``ledger.db`` in the data
    folder by default."""

    worker_name: str = "worker-1"

    durability: Literal["full", "relaxed"] = "full"
    """``relaxed`` syncs less often, or lets a PostgreSQL server pass that does not sync: a power cut may cost the last
    commits; a crash of a process costs nothing."""
    flush_interval_ms: Annotated[float, Meta(ge=0, le=10_000)] = 50
    worker_concurrency: AtLeastOne = 2_000
    lease: Positive = 5
    heartbeat: Positive = 1
    attempts: AtLeastOne = 3
    first_retry_delay: NotNegative = 0.5
    longest_retry_delay: NotNegative = 30
    generation_timeout: Positive = 1_200
    shutdown_grace: NotNegative = 30
    subscription_poll: Positive = 0.5
    subscription_attempts: AtLeastOne = 5
    max_query_characters: AtLeastOne = 100_000

    openai_base_url: str | None = None
    openai_api_key: str | None = None

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(type(self)):
            msgspec.structs.force_setattr(self, field.name, _accept(field.name, field.type, getattr(self, field.name)))
        if self.heartbeat >= self.lease:
            raise SettingsProblemError("heartbeat: must be shorter than the lease")
        if self.first_retry_delay > self.longest_retry_delay:
            raise SettingsProblemError("first_retry_delay: must not be longer than longest_retry_delay")

    def __repr__(self) -> str:
        """Without the two that may hold a secret."""
        shown = ", ".join(
            f"{name}={getattr(self, name)!r}"
            for name in self.__struct_fields__
            if name not in {"database_url", "openai_api_key"}
        )
        return f"{type(self).__name__}({shown})"

    @property
    def ledger_url(self) -> str:
        """Where the ledger is."""
        return self.database_url or f"{SQLITE}{self.data_dir / 'ledger.db'}"

    @property
    def database_path(self) -> Path | None:
        """The SQLite file of the ledger; None where it is in PostgreSQL."""
        url = self.ledger_url
        return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


class ServerSettings(Settings, frozen=True, kw_only=True):
    """What a server needs to know beside; :func:`load_settings` finds it all."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    http_server: Literal["granian", "uvicorn"] = "granian"

    ping_interval: Positive = 10
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 1024 * 1024
    max_json_depth: Annotated[int, Meta(ge=2, le=500)] = 32
    max_open_streams: AtLeastOne = 10_000


def _accept(name: str, kind: Any, value: Any) -> Any:
    """A value as its type wants it; also of a text, which is all that the environment can give."""
    try:
        accepted = msgspec.convert(value, kind, strict=False, dec_hook=_to_path)
        check = _CHECKS.get(name)
        return accepted if check is None or accepted is None else check(accepted)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsProblemError(f"{name}: {error}") from None


def _to_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path) and str(value).strip():
        return Path(value)
    raise ValueError("must name a path")


def require_no_server(settings: Settings) -> None:
    """Let settings pass that say nothing about a server.

    Raises:
        SettingsProblemError: one of a server's own is not as it is by default.
    """
    for field in msgspec.structs.fields(type(settings)):
        if field.name not in Settings.__struct_fields__ and getattr(settings, field.name) != field.default:
            raise SettingsProblemError(f"{field.name}: an embedded chatledger has no server")


def load_settings(**overrides: Any) -> ServerSettings:
    """The settings in force: the overrides that are not None before the environment before the file.

    Each one is an environment variable with the prefix ``CHATLEDGER_``, or a key of the TOML file. The file is the one
    that ``CHATLEDGER_CONFIG`` names, else ``chatledger.toml`` in the working directory if it is there.

    Raises:
        SettingsProblemError: one of them is unknown or impossible.
    """
    config = os.environ.get(CONFIG_FILE)
    if config is not None and not Path(config).is_file():
        raise SettingsProblemError(f"{CONFIG_FILE}: there is no file {config}")
    found: dict[str, Any] = dict(_read_environment())
    found = _read_file(Path(config or DEFAULT_CONFIG_FILE)) | found
    found |= {name: value for name, value in overrides.items() if value is not None}
    return ServerSettings(**found)


def _read_environment() -> Iterator[tuple[str, str]]:
    """Whatever looks like one of ours has to be one; in capitals, so that there is one of each."""
    known = {f"{PREFIX}{name.upper()}": name for name in ServerSettings.__struct_fields__}
    for variable, value in os.environ.items():
        capitals = variable.upper()
        if variable in known:
            yield known[variable], value
        elif capitals.startswith(PREFIX) and variable != CONFIG_FILE:
            hint = f": it is {capitals}, in capitals" if capitals in {CONFIG_FILE, *known} else ""
            raise SettingsProblemError(f"{variable}: no such setting{hint}")


def _read_file(file: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsProblemError(f"{file}: {reason}".replace("\n", " ")) from None
    for name in given:
        if name not in ServerSettings.__struct_fields__:
            raise SettingsProblemError(f"{file}: {name}: no such setting")
    return given
