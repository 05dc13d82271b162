"""The settings of any chatledger, in a host's process or in a server."""

import importlib.util
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")
S3 = "s3://"


class SettingsProblemError(Exception):
    """A setting is unknown or impossible; the text is one line that names it."""


def _not_empty(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty")
    return value


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


def _file(path: Path) -> Path:
    """A file that is there, or that could be."""
    _folder(path.parent)
    try:
        could_be = "\0" not in str(path) and not path.is_dir()
    except OSError:
        could_be = False
    if not could_be:
        raise ValueError(f"{path} cannot be a file")
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
    _file(Path(file))
    return url


def _keys_url(url: str) -> str:
    if not url.startswith(POSTGRES):
        raise ValueError("must be postgresql://user@host:port/database; without it the keys are in the data folder")
    return _postgres_url(url)


def _postgres_url(url: str) -> str:
    try:
        from psycopg import ProgrammingError  # noqa: PLC0415 - an extra, and slow to import
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ValueError("PostgreSQL needs the extra `postgres`: install chatledger[postgres]") from None
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        raise ValueError("is no address: postgresql://user@host:port/database") from None
    host, database = str(parts.get("host") or ""), str(parts.get("dbname") or "")
    if not database:
        raise ValueError("must name a database: postgresql://user@host:port/database")
    if "@" in host + database:
        raise ValueError("is no address: in a user's name and password @ is written %40, and / is written %2F")
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


def _files_url(url: str) -> str:
    if url.startswith("file://"):
        folder = Path(url.removeprefix("file://"))
        if not folder.is_absolute():
            raise ValueError("must name a folder by its whole path: file:///path/to/folder")
        _folder(folder)
        return url
    return _bucket_url(url)


def _bucket_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be s3://bucket or s3://bucket/folder")
    if importlib.util.find_spec("obstore") is None:
        raise ValueError("object storage needs the extra `s3`: install chatledger[s3]")
    return url


def _ledger_name(name: str) -> str:
    if not name or not name.isprintable() or set(name) & set(" +/") or len(name) > 100:
        raise ValueError("must be a name of up to 100 characters, without spaces, plus and slash")
    return name


def _sink_url(url: str) -> str:
    """The reasons quote nothing: whoever knows a URL may be let in by it."""
    if url.startswith(S3):
        return _bucket_url(url)
    if url.startswith("file://"):
        path = Path(url.removeprefix("file://"))
        if not path.is_absolute() or path.is_dir():
            raise ValueError("must name a file by its whole path: file:///path/to/file")
        _folder(path.parent)
        return url
    if not url.startswith(("http://", "https://")):
        raise ValueError("must be file:///path/to/file, s3://bucket/folder, or begin with https://")
    try:
        parts = urlsplit(url)
        is_address = bool(parts.hostname) and parts.port != 0 and url.isascii() and url.isprintable()
    except ValueError:
        raise ValueError("is no address") from None
    if not is_address or parts.fragment or parts.username is not None:
        raise ValueError("is no address, or holds a user name, a password or a fragment")
    if importlib.util.find_spec("httpcore2") is None:
        raise ValueError("posting checkpoints needs the extra `webhooks`: install chatledger[webhooks]")
    return url


def _nats_urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    """The reasons quote nothing of an address: it may hold a password."""
    for url in urls:
        try:
            parts = urlsplit(url)
            is_address = parts.scheme in {"nats", "tls"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise ValueError("is no address: nats://host:port or tls://host:port") from None
        if not is_address or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("is no address: nats://host:port or tls://host:port")
        if parts.username is not None or parts.password is not None:
            raise ValueError("may hold no user name and no password: they are settings of their own")
    if len({url.partition(":")[0] for url in urls}) > 1:
        raise ValueError("must be all with TLS (tls://) or all without it (nats://)")
    if urls and importlib.util.find_spec("nats") is None:
        raise ValueError("NATS needs the extra `nats`: install chatledger[nats]")
    return urls


def _existing_file(path: Path) -> Path:
    try:
        is_file = "\0" not in str(path) and path.is_file()
    except OSError:
        is_file = False
    if not is_file:
        raise ValueError(f"{path} is no file")
    return path


def _extensions(given: tuple[str, ...]) -> tuple[str, ...]:
    extensions = tuple(extension.removeprefix(".").lower() for extension in given)
    for extension in extensions:
        if not extension or not extension.isprintable() or set(extension) & set("./\\ "):
            raise ValueError(f"{extension!r} is not what stands behind the last dot of a name")
    return extensions


Network = IPv4Network | IPv6Network
Networks = tuple[Network, ...]
NotEmpty = Annotated[str, AfterValidator(_not_empty)]
Folder = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(_folder)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
KeysUrl = Annotated[str, AfterValidator(_keys_url)]
KeyFile = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(_file)]
ProviderAddress = Annotated[str, AfterValidator(_provider_address)]
FilesUrl = Annotated[str, AfterValidator(_files_url)]
LedgerName = Annotated[str, AfterValidator(_ledger_name)]
SinkUrl = Annotated[str, AfterValidator(_sink_url)]
NatsUrls = Annotated[tuple[str, ...], AfterValidator(_nats_urls)]
File = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(_existing_file)]
Extensions = Annotated[tuple[str, ...], AfterValidator(_extensions)]

BLOCKED_EXTENSIONS = ("bat", "cmd", "com", "cpl", "dll", "exe", "hta", "jar", "lnk", "msi", "ps1", "scr", "vbs")
"""What a double click runs on some system."""


class Settings(BaseModel):
    """What every chatledger needs to know.

    Times are seconds unless the name says otherwise. What is given is all: no environment and no file is read here.

    Raises:
        SettingsProblemError: one of them is unknown or impossible.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data_dir: Folder = Field(default=Path("chatledger-data"), validate_default=True)
    database_url: DatabaseUrl | None = Field(default=None, repr=False)
    """Where the ledger is: ``sqlite:///file``, or ``postgresql://user@host:port/database``; ``ledger.db`` in the data
    folder by default."""

    keys_url: KeysUrl | None = Field(default=None, repr=False)
    """The PostgreSQL that the keys are in. By default they are in the data folder, or, where many processes share a
    ledger, in its database."""
    master_key_file: KeyFile | None = None
    """The file of the key that opens all others: ``master.key`` in the data folder by default."""

    queue: Literal["in_process", "nats", "postgres"] = "in_process"
    """How work and news travel: within this one process, or between any number of them on one PostgreSQL."""

    nats_url: NatsUrls = ()
    """The servers of one cluster, or the one that there is: each ``nats://host:port``, or each ``tls://host:port``."""
    nats_replicas: int = Field(default=1, ge=1, le=5)
    """How many servers of the cluster keep each work that waits."""
    nats_user: NotEmpty | None = None
    nats_password: SecretStr | None = None
    nats_token: SecretStr | None = None
    nats_nkey_file: File | None = None
    """A file with the seed of an nkey."""
    nats_credentials_file: File | None = None
    """A file with a JWT and the seed of its nkey."""
    nats_ca_file: File | None = None
    """Who signs the servers' certificates, if it is none of those that the machine trusts."""
    nats_certificate_file: File | None = None
    nats_key_file: File | None = None

    worker_name: NotEmpty = "worker-1"

    durability: Literal["full", "relaxed"] = "full"
    """``relaxed`` syncs a SQLite file less often: a power cut may cost the last commits. It lets a PostgreSQL server
    pass that does not sync: a power cut may cost the database. The crash of a process costs nothing."""
    flush_interval_ms: float = Field(default=50, ge=0, le=10_000)
    worker_concurrency: int = Field(default=2_000, ge=1)
    lease: float = Field(default=5, gt=0)
    heartbeat: float = Field(default=1, gt=0)
    attempts: int = Field(default=3, ge=1)
    take_overs: int = Field(default=10, ge=0)
    first_retry_delay: float = Field(default=0.5, ge=0)
    longest_retry_delay: float = Field(default=30, ge=0)
    generation_timeout: float = Field(default=1_200, gt=0)
    max_answer_characters: int = Field(default=1_000_000, ge=1)
    shutdown_grace: float = Field(default=30, ge=0)
    search: bool = True
    """Whether what was said can be searched: an index beside the ledger is kept up with it."""
    subscription_poll: float = Field(default=0.5, gt=0)
    subscription_attempts: int = Field(default=5, ge=1)
    max_query_characters: int = Field(default=100_000, ge=1)
    max_app_concurrency: int = Field(default=0, ge=0)
    idempotency_hours: float = Field(default=24, gt=0, le=8_760)

    files_url: FilesUrl | None = None
    """Where the bytes of files are: ``s3://bucket/folder`` or ``file:///folder``; by default, for one process, the
    folder ``files`` in the data folder."""
    files_endpoint: ProviderAddress | None = None
    """The object storage, where it is not Amazon's."""
    files_region: NotEmpty = "us-east-1"
    files_access_key_id: NotEmpty | None = None
    files_secret_access_key: SecretStr | None = None
    ledger_name: LedgerName = "chatledger"
    """What the names of the ledger's log and of its notary's keys begin with."""
    checkpoint_interval: float = Field(default=60, ge=0, le=86_400)
    """From one checkpoint to the next, where there is something new; at 0 each has to be asked for."""
    checkpoint_sink: SinkUrl | None = Field(default=None, repr=False)
    """Where checkpoints are kept outside: ``file:///path``, ``s3://bucket/folder``, or a URL to post them to."""
    checkpoint_sink_endpoint: ProviderAddress | None = None
    checkpoint_sink_region: NotEmpty = "us-east-1"
    checkpoint_sink_access_key_id: NotEmpty | None = None
    checkpoint_sink_secret_access_key: SecretStr | None = None

    file_size_limit: int = Field(default=15, ge=1, le=1024)
    """Megabytes, here and in the next three: of documents and whatever has no limit of its own."""
    image_file_size_limit: int = Field(default=10, ge=1, le=1024)
    audio_file_size_limit: int = Field(default=50, ge=1, le=1024)
    video_file_size_limit: int = Field(default=100, ge=1, le=1024)
    blocked_file_extensions: Extensions = BLOCKED_EXTENSIONS
    file_link_lifetime: int = Field(default=3_600, ge=1)

    webhook_timeout: float = Field(default=15, gt=0, le=120)
    webhook_attempts: int = Field(default=16, ge=1, le=100)
    first_webhook_delay: float = Field(default=5, gt=0)
    longest_webhook_delay: float = Field(default=3_600, gt=0)
    webhook_give_up_hours: float = Field(default=72, gt=0)
    webhook_allowed_networks: Networks = ()
    """Networks that webhooks may be sent to though their addresses are not public, as ``10.1.0.0/16``."""

    openai_base_url: ProviderAddress | None = None
    openai_api_key: SecretStr | None = None
    provider_connect_timeout: float = Field(default=10, gt=0)
    provider_silence: float = Field(default=120, gt=0)
    """How long a provider may say nothing, before its answer or in the middle of it."""
    anthropic_api_key: SecretStr | None = None
    google_api_key: SecretStr | None = None
    transcription_model: NotEmpty = "whisper-1"
    """The model of that provider that writes down what is said."""
    speech_model: NotEmpty = "tts-1"
    """The model of that provider that says what is written."""
    speech_voice: NotEmpty = "alloy"
    """The voice of apps that name none."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _first_problem(error) from None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.is_shared and self.database_path is not None:
            raise ValueError("queue: many processes need database_url to be that of a PostgreSQL")
        if self.is_shared and self.files_url is None:
            raise ValueError("files_url: many processes need a place that all of them reach, s3:// or file://")
        self._fit_with_nats()
        if self.heartbeat >= self.lease:
            raise ValueError("heartbeat: must be shorter than the lease")
        if self.first_retry_delay > self.longest_retry_delay:
            raise ValueError("first_retry_delay: must not be longer than longest_retry_delay")
        if self.first_webhook_delay > self.longest_webhook_delay:
            raise ValueError("first_webhook_delay: must not be longer than longest_webhook_delay")
        for storage, prefix in (("files_url", "files"), ("checkpoint_sink", "checkpoint_sink")):
            needed = {
                f"{prefix}_endpoint": storage,
                f"{prefix}_access_key_id": f"{prefix}_secret_access_key",
                f"{prefix}_secret_access_key": f"{prefix}_access_key_id",
            }
            for name, other in needed.items():
                if getattr(self, name) is None:
                    continue
                if not (getattr(self, storage) or "").startswith(S3):
                    raise ValueError(f"{name}: needs {storage} to be a bucket")
                if getattr(self, other) is None:
                    raise ValueError(f"{name}: needs {other}")
        return self

    def _fit_with_nats(self) -> None:
        if self.queue != "nats":
            for name, field in type(self).model_fields.items():
                if name.startswith("nats_") and getattr(self, name) != field.default:
                    raise ValueError(f"{name}: needs queue to be nats")
            return
        if not self.nats_url:
            raise ValueError("queue: NATS needs nats_url")
        ways = ("nats_user", "nats_token", "nats_nkey_file", "nats_credentials_file")
        for other in [name for name in ways if getattr(self, name) is not None][1:]:
            raise ValueError(f"{other}: only one of {', '.join(ways)} can tell who asks")
        for name, required in (
            ("nats_user", "nats_password"),
            ("nats_password", "nats_user"),
            ("nats_certificate_file", "nats_key_file"),
            ("nats_key_file", "nats_certificate_file"),
        ):
            if getattr(self, name) is not None and getattr(self, required) is None:
                raise ValueError(f"{name}: needs {required}")
        for name in ("nats_ca_file", "nats_certificate_file"):
            if getattr(self, name) is not None and not self.nats_url[0].startswith("tls://"):
                raise ValueError(f"{name}: needs nats_url to begin with tls://")

    @property
    def is_shared(self) -> bool:
        """Whether this is one of any number of processes on one ledger."""
        return self.queue != "in_process"

    @property
    def ledger_url(self) -> str:
        """Where the ledger is."""
        return self.database_url or f"{SQLITE}{self.data_dir / 'ledger.db'}"

    @property
    def key_store_url(self) -> str | None:
        """The PostgreSQL that the keys are in; None where they are in the data folder."""
        return self.key_database_url if self.keys_url or self.is_shared else None

    @property
    def key_database_url(self) -> str | None:
        """The PostgreSQL that the keys could be in; None where no setting names one."""
        return self.keys_url or (self.ledger_url if self.database_path is None else None)

    @property
    def master_key_path(self) -> Path:
        """The file of the master key."""
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def database_path(self) -> Path | None:
        """The SQLite file of the ledger; None where it is in PostgreSQL."""
        url = self.ledger_url
        return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def require_no_server(settings: Settings) -> Settings:
    """The settings, where they say nothing about a server.

    Raises:
        SettingsProblemError: one of a server's own is not as it is by default.
    """
    for name, field in type(settings).model_fields.items():
        if name not in Settings.model_fields and getattr(settings, name) != field.default:
            raise SettingsProblemError(f"{name}: an embedded chatledger has no server")
    return settings


def _first_problem(error: ValidationError) -> SettingsProblemError:
    """The first thing that is wrong, by its name; what was given is not quoted, as it may be a secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return SettingsProblemError(f"{name}: no such setting")
    reason = str(first["msg"]).removeprefix("Value error, ")
    return SettingsProblemError(f"{name}: {reason}" if name else reason)
