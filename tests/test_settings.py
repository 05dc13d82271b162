"""What settings may be, and how a wrong one is named."""

import traceback
from pathlib import Path
from typing import Any

import pytest

from chatledger.adapters.generator.openai_compatible import OpenAICompatibleGenerator
from chatledger.server_settings import load_settings
from chatledger.settings import Settings, SettingsProblemError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", ""),
        ("database_url", "sqlite:///"),
        ("database_url", "sqlite:/// "),
        ("database_url", "sqlite:///:memory:"),
        ("database_url", "sqlite:///."),
        ("database_url", "sqlite:///file/ledger.db"),
        ("database_url", "sqlite:///" + "x" * 300),
        ("database_url", "mysql://ann:geheim@localhost/chat"),
        ("database_url", "postgresql://ann:geheim@localhost"),
        ("database_url", "postgresql://ann:geheim@localhost/"),
        ("database_url", "postgresql://ann:geheim@[::1/chat"),
        ("database_url", "postgresql://ann:geheim%zz@localhost/chat"),
        ("database_url", "postgresql://ann:@geheim@localhost/chat"),
        ("database_url", "postgresql://ann:/geheim@localhost/chat"),
        ("database_url", "postgresql://localhost/chat?colour=geheim"),
        ("keys_url", ""),
        ("keys_url", "sqlite:///keys.db"),
        ("keys_url", "postgresql://ann:geheim@localhost"),
        ("master_key_file", ""),
        ("master_key_file", "."),
        ("master_key_file", "file/master.key"),
        ("master_key_file", "x" * 300),
        ("data_dir", ""),
        ("data_dir", " "),
        ("data_dir", "file"),
        ("data_dir", "file/data"),
        ("data_dir", "x" * 300),
        ("host", ""),
        ("worker_name", ""),
        ("worker_name", " "),
        ("lease", "inf"),
        ("lease", "nan"),
        ("shutdown_grace", "inf"),
        ("generation_timeout", "inf"),
        ("ping_interval", "inf"),
        ("first_retry_delay", "31"),
        ("heartbeat", "5"),
        ("max_json_depth", "501"),
        ("cors_origins", ""),
        ("cors_origins", "chat.example.org"),
        ("cors_origins", "https://chat.example.org/"),
        ("cors_origins", "https://chat.example.org/path"),
        ("cors_origins", "https://Chat.example.org"),
        ("cors_origins", "https://*.example.org"),
        ("cors_origins", "https://ann:secret@chat.example.org"),
        ("cors_origins", "https://chat.example.org:99999"),
        ("cors_origins", "https://chat.example.org,"),
        ("cors_origins", "null"),
        ("passport_lifetime", "59"),
        ("files_url", "files"),
        ("files_url", "https://storage.example/files"),
        ("files_url", "file://files"),
        ("files_url", "file:///dev/null"),
        ("files_url", "s3://"),
        ("files_url", "s3://geheim@files"),
        ("ledger_name", ""),
        ("ledger_name", "two words"),
        ("ledger_name", "a+b"),
        ("ledger_name", "a/b"),
        ("ledger_name", "x" * 101),
        ("checkpoint_interval", "-1"),
        ("checkpoint_sink", "/var/log/checkpoints"),
        ("checkpoint_sink", "file://checkpoints"),
        ("checkpoint_sink", "file:///"),
        ("checkpoint_sink", "s3://"),
        ("checkpoint_sink", "ftp://geheim@storage.example"),
        ("checkpoint_sink", "https://ann:geheim@audit.example/"),
        ("checkpoint_sink", "https://"),
        ("checkpoint_sink", "https://audit.example:0/geheim"),
        ("checkpoint_sink", "https://[::1/geheim"),
        ("checkpoint_sink_endpoint", "https://storage.example"),
        ("checkpoint_sink_access_key_id", "an-id"),
        ("files_endpoint", "https://storage.example"),
        ("files_access_key_id", "an-id"),
        ("files_secret_access_key", "geheim"),
        ("nats_url", ""),
        ("nats_url", "https://ann.example"),
        ("nats_url", "nats://ann:geheim@localhost"),
        ("nats_url", "nats://localhost:0"),
        ("nats_url", "nats://[::1"),
        ("nats_url", "nats://localhost/geheim"),
        ("nats_url", "nats://localhost, tls://localhost"),
        ("nats_url", "nats://localhost"),
        ("nats_password", "geheim"),
        ("nats_replicas", "6"),
        ("nats_nkey_file", "nowhere"),
        ("image_file_size_limit", "0"),
        ("blocked_file_extensions", "tar.gz"),
        ("blocked_file_extensions", ""),
        ("file_link_lifetime", "0"),
        ("public_url", "chat.example.org"),
        ("openai_base_url", ""),
        ("openai_base_url", "provider.example/v1"),
    ],
)
def test_what_a_setting_cannot_be(name: str, value: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").touch()
    monkeypatch.setenv(f"CHATLEDGER_{name.upper()}", value)
    with pytest.raises(SettingsProblemError, match=rf"\A{name}: [^\n]+\Z") as refusal:
        load_settings()
    assert "geheim" not in str(refusal.value)


def test_the_folder_that_nobody_named_is_looked_at_too(folder: Path) -> None:
    (folder / "chatledger-data").touch()
    with pytest.raises(SettingsProblemError, match=r"\Adata_dir: "):
        load_settings()


@pytest.mark.parametrize("name", ["data_dir", "database_url"])
def test_no_path_holds_a_nul(name: str, folder: Path) -> None:
    (folder / "chatledger.toml").write_text(f'{name} = "sqlite:///a\\u0000b"\n')
    with pytest.raises(SettingsProblemError, match=rf"\A{name}: "):
        load_settings()


def test_an_option_is_no_freer_than_a_variable() -> None:
    with pytest.raises(SettingsProblemError, match=r"\Ahost: "):
        load_settings(host="")


@pytest.mark.parametrize("variable", ["CHATLEDGER_PROT", "chatledger_prot", "Chatledger_Prot", "chatledger_port"])
def test_an_unknown_variable_in_any_case(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "8000")
    with pytest.raises(SettingsProblemError, match=rf"\A{variable}: no such setting"):
        load_settings()


@pytest.mark.parametrize("given", [None, "other.toml"])
def test_an_unknown_key_names_its_file(given: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = given or "chatledger.toml"
    (folder / file).write_text("nope = 1\n")
    if given:
        monkeypatch.setenv("CHATLEDGER_CONFIG", given)
    with pytest.raises(SettingsProblemError, match=rf"\A{file}: nope: no such setting\Z"):
        load_settings()


def test_what_may_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLEDGER_DATA_DIR", "not/yet/there")
    monkeypatch.setenv("CHATLEDGER_DATABASE_URL", f"sqlite:///{folder}/elsewhere/ledger.db")
    (folder / "chatledger.toml").write_text("max_json_depth = 500\nfirst_retry_delay = 30\n")
    settings = load_settings(port=0)
    assert settings.data_dir == Path("not/yet/there")
    assert settings.database_path == folder / "elsewhere" / "ledger.db"
    assert (settings.max_json_depth, settings.first_retry_delay, settings.port) == (500, 30, 0)
    assert [path.name for path in folder.iterdir()] == ["chatledger.toml"]


OVER_NATS = {
    "queue": "nats",
    "database_url": "postgresql://localhost/chat",
    "files_url": "s3://files",
    "nats_url": ["tls://localhost"],
}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"nats_url": ()}, "queue: NATS needs nats_url"),
        ({"nats_user": "ann"}, "nats_user: needs nats_password"),
        ({"nats_password": "geheim"}, "nats_password: needs nats_user"),
        ({"nats_user": "ann", "nats_password": "geheim", "nats_token": "geheim"}, "nats_token: only one of "),
        ({"nats_certificate_file": __file__}, "nats_certificate_file: needs nats_key_file"),
        (
            {"nats_ca_file": __file__, "nats_url": ["nats://localhost"]},
            "nats_ca_file: needs nats_url to begin with tls",
        ),
    ],
)
def test_what_of_nats_does_not_fit_together(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsProblemError, match=rf"\A{reason}"):
        Settings(**(OVER_NATS | given))


def test_who_asks_nats_is_not_shown() -> None:
    assert "geheim" not in repr(Settings(**OVER_NATS, nats_user="ann", nats_password="geheim"))
    assert "geheim" not in repr(Settings(**OVER_NATS, nats_token="geheim"))


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_ledger_in_postgresql(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{scheme}://ann:geheim#@localhost:5433/chat?sslmode=require"
    monkeypatch.setenv("CHATLEDGER_DATABASE_URL", url)
    settings = load_settings()
    assert (settings.ledger_url, settings.database_path) == (url, None)
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:8080/v1",
        "https://provider.example",
        "HTTPS://[::1]/v1/",
        "",
        "provider.example",
        "ftp://provider.example",
        "https://",
        "https:///v1",
        "https://provider.example:0",
        "https://provider.example:port",
        "https://provider.example:99999",
        "https://[::1",
        "https://ann@provider.example",
        "https://ann:geheim@provider.example",
        "https://provider.example?key=geheim",
        "https://provider.example#part",
    ],
)
def test_the_provider_is_one_that_the_generator_takes(address: str) -> None:
    taken = True
    try:
        OpenAICompatibleGenerator(base_url=address)
    except ValueError:
        taken = False
    if taken:
        assert Settings(openai_base_url=address).openai_base_url == address
    else:
        with pytest.raises(SettingsProblemError, match=r"\Aopenai_base_url: "):
            Settings(openai_base_url=address)


def test_what_a_program_gives_is_all_that_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLEDGER_ATTEMPTS", "7")
    (folder / "chatledger.toml").write_text("shutdown_grace = 7\n")
    assert (load_settings().attempts, load_settings().shutdown_grace) == (7, 7)
    assert Settings() == Settings(attempts=3, shutdown_grace=30)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"attempts": 0}, "attempts: Input should be greater than or equal to 1"),
        ({"data_dir": ""}, "data_dir: must not be empty"),
        ({"heartbeat": 6}, "heartbeat: must be shorter than the lease"),
        ({"queue": "nats"}, "queue: many processes need database_url to be that of a PostgreSQL"),
        (
            {"queue": "postgres", "database_url": "postgresql://ann:geheim@localhost/chat"},
            "files_url: many processes need a place that all of them reach, s3:// or file://",
        ),
        (
            {"files_url": "file:///files", "files_endpoint": "https://storage.example"},
            "files_endpoint: needs files_url to be a bucket",
        ),
        ({"openai_api_key": ["sk-geheim"]}, "openai_api_key: Input should be a valid string"),
    ],
)
def test_a_wrong_one_is_named_where_it_is_given_and_not_quoted(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsProblemError) as raised:
        Settings(**given)
    assert str(raised.value) == reason
    assert "geheim" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("name", ["prot", "port"])
def test_settings_of_a_server_are_no_settings_of_every_chatledger(name: str) -> None:
    with pytest.raises(SettingsProblemError, match=rf"\A{name}: no such setting"):
        Settings(**{name: 8000})


def test_what_may_be_secret_is_not_shown() -> None:
    settings = Settings(openai_api_key="sk-geheim", database_url="sqlite:///geheim/ledger.db", attempts=7)
    assert "geheim" not in repr(settings)
    assert "attempts=7" in repr(settings)


def test_origins_stand_between_commas_in_the_environment_and_in_a_list_in_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origins = ("https://chat.example.org", "http://localhost:3000", "http://[::1]:3000")
    (folder / "chatledger.toml").write_text(f"cors_origins = {list(origins)}\n")
    assert load_settings().cors_origins == origins
    monkeypatch.setenv("CHATLEDGER_CORS_ORIGINS", ", ".join(origins[:2]))
    assert load_settings().cors_origins == origins[:2]
    monkeypatch.setenv("CHATLEDGER_CORS_ORIGINS", "*")
    assert load_settings().cors_origins == ("*",)
