"""What is deployed says of chatledger what is so."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from chatledger.adapters.cli.daemon import SECONDS_TO_CLOSE
from chatledger.adapters.cli.main import _parser
from chatledger.server_settings import CONFIG_FILE, PREFIX, ServerSettings, load_settings
from chatledger.version import __version__
from tests.deploy.files import COMPOSE_FILES, EVERYTHING, MINIMAL, ROOT, compose, containers
from tests.support.process import ServerProcess
from tests.support.process import environment as environment_of

DOCKERFILE = (ROOT / "Dockerfile").read_text()
DATA_DIR = "/var/lib/chatledger"


def our_services(file: Path) -> dict[str, dict[str, Any]]:
    """Those that run chatledger."""
    return {name: it for name, it in compose(file)["services"].items() if it["image"].startswith("chatledger:")}


OUR_SERVICES = [
    pytest.param(file, name, service, id=f"{file.name}-{name}")
    for file in COMPOSE_FILES
    for name, service in our_services(file).items()
]
VALUES = [pytest.param(MINIMAL, id="minimal"), pytest.param(EVERYTHING, id="everything")]


def make_secrets(folder: Path) -> None:
    subprocess.run([ROOT / "deploy" / "make-secrets", folder], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What deploy/make-secrets makes."""
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    make_secrets(folder)
    return folder


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def test_every_variable_that_is_named_is_a_setting() -> None:
    known = {CONFIG_FILE} | {f"{PREFIX}{name.upper()}" for name in ServerSettings.model_fields}
    files = [ROOT / "Dockerfile", *(path for path in (ROOT / "deploy").rglob("*") if path.is_file())]
    files += [ROOT / "docs" / "deployment.md", ROOT / "docs" / "scaling.md"]
    named = {name for file in files for name in re.findall(rf"{PREFIX}[A-Z_]+(?![A-Z_%])", file.read_text())}
    assert named
    assert named - known == set()


@pytest.mark.parametrize(("file", "name", "service"), OUR_SERVICES)
def test_a_composed_service_runs_a_command_of_chatledger_with_its_settings(
    file: Path, name: str, service: dict[str, Any], secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _parser().parse_args(service["command"])
    declared = compose(file)["secrets"]
    mounted = {
        secret["target"]: secrets / Path(declared[secret["source"]]["file"]).name for secret in service["secrets"]
    }
    assert all(path.is_file() for path in mounted.values())
    environment = service["environment"] | {"CHATLEDGER_DATA_DIR": str(secrets.parent / "data")}
    for variable in (CONFIG_FILE, "CHATLEDGER_MASTER_KEY_FILE"):
        if variable in environment:
            environment[variable] = str(mounted[Path(environment[variable]).name])
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert settings.database_path is None
    if file.name == "compose.yaml":
        assert (settings.queue, settings.nats_replicas, settings.nats_user) == ("nats", 3, "chatledger")
        nodes = {name for name in compose(file)["services"] if name.startswith("nats-")}
        assert {url.split("/")[2] for url in settings.nats_url} == {f"{node}:4222" for node in nodes}
    else:
        assert settings.queue == "in_process"
    assert seconds(service["stop_grace_period"]) > settings.shutdown_grace + SECONDS_TO_CLOSE


@pytest.mark.parametrize("values", VALUES)
def test_a_pod_runs_a_command_of_chatledger_with_its_settings(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file, content in (
        ("chatledger.toml", 'database_url = "postgresql://chat@database/chat"\n'),
        ("master.key", "k" * 32),
    ):
        (tmp_path / file).write_text(content)
    found = containers(values)
    assert found.keys() == {"api", "worker", "migrate"}
    for container in found.values():
        _parser().parse_args(container["args"])
        environment = {one["name"]: one.get("value", "a-pod") for one in container["env"]}
        assert (environment["CHATLEDGER_DATA_DIR"], environment["CHATLEDGER_PORT"]) == (DATA_DIR, "8000")
        for variable in (CONFIG_FILE, "CHATLEDGER_MASTER_KEY_FILE"):
            environment[variable] = str(tmp_path / Path(environment[variable]).name)
        environment["CHATLEDGER_DATA_DIR"] = str(tmp_path)
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        settings = load_settings()
        assert settings.queue == values.get("queue", "nats")
        assert settings.shutdown_grace == values.get("shutdownGrace", 30)
        if container["name"] != "migrate":
            pod, pause = (
                container["pod"],
                container.get("lifecycle", {}).get("preStop", {}).get("sleep", {"seconds": 0}),
            )
            ends_after = pause["seconds"] + settings.shutdown_grace + SECONDS_TO_CLOSE
            assert pod["terminationGracePeriodSeconds"] > ends_after


def test_settings_of_the_chart_reach_a_pod_as_they_were_given() -> None:
    environment = {one["name"]: one.get("value") for one in containers(EVERYTHING)["api"]["env"]}
    given = ("CHATLEDGER_PUBLIC_URL", "CHATLEDGER_MAX_BODY_BYTES", "CHATLEDGER_SEARCH")
    assert [environment[name] for name in given] == ["https://chat.example.org", "2000000", "false"]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, "files.url or files.existingClaim"),
        (MINIMAL | {"queue": "in_process"}, "queue"),
        (MINIMAL | {"settings": {"database_url": "postgresql://ann:secret@database/chat"}}, "database_url"),
        (MINIMAL | {"settings": {"shutdown_grace": 3}}, "shutdown_grace"),
        (MINIMAL | {"nats": {"url": ["nats://ann:secret@nats"], "replicas": 3}}, "url"),
        (MINIMAL | {"api": {"replicas": 0}}, "replicas"),
        (MINIMAL | {"apis": {}}, "apis"),
    ],
)
def test_the_chart_refuses_values_that_would_have_no_effect_or_a_wrong_one(values: dict[str, Any], names: str) -> None:
    helm = pytest.importorskip("helm_python")
    with pytest.raises(helm.HelmError, match=names):
        containers(values)


def test_account_folder_and_port_are_those_of_the_image() -> None:
    (account,) = re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)
    port = str(ServerSettings.model_fields["port"].default)
    assert f"EXPOSE {port}" in DOCKERFILE
    assert f"CHATLEDGER_DATA_DIR={DATA_DIR}" in DOCKERFILE
    assert f"VOLUME {DATA_DIR}" in DOCKERFILE
    for container in containers(MINIMAL).values():
        security = container["pod"]["securityContext"]
        assert {str(security[one]) for one in ("runAsUser", "runAsGroup", "fsGroup")} == {account}
        assert DATA_DIR in {mount["mountPath"] for mount in container["volumeMounts"]}
    (listening,) = containers(MINIMAL)["api"]["ports"]
    assert str(listening["containerPort"]) == port
    for file in COMPOSE_FILES:
        published = [port for service in our_services(file).values() for port in service.get("ports", ())]
        assert published
        assert all(one.startswith("127.0.0.1:") and one.endswith(f":{port}") for one in published)


def test_the_version_is_that_of_chatledger() -> None:
    chart = (ROOT / "deploy" / "helm" / "chatledger" / "Chart.yaml").read_text()
    assert re.findall(r"^(?:version|appVersion): (\S+)$", chart, re.MULTILINE) == [__version__] * 2
    assert {service["image"] for file in COMPOSE_FILES for service in our_services(file).values()} == {
        f"chatledger:{__version__}"
    }


def test_the_image_is_made_of_all_that_a_wheel_needs() -> None:
    let_in = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"]}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert let_in == needed | {"pyproject.toml", "requirements.lock"}


def test_the_images_health_check_asks_whoever_has_the_data_folder(tmp_path: Path) -> None:
    (line,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    python, *arguments = json.loads(line)
    assert python == "python"
    worker = containers(MINIMAL)["worker"]
    assert {tuple(worker[probe]["exec"]["command"]) for probe in ("startupProbe", "livenessProbe")} == {
        (python, *arguments)
    }

    def ask() -> int:
        command = [sys.executable, *arguments]
        environment = environment_of(tmp_path / "data")
        return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, timeout=20, check=False).returncode

    assert ask() != 0
    with ServerProcess(tmp_path / "data"):
        assert ask() == 0
    assert ask() != 0


def test_the_servers_of_nats_take_their_configuration(secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "nats.conf").write_bytes((ROOT / "deploy" / "nats" / "nats.conf").read_bytes())
    (tmp_path / "users.conf").write_bytes((secrets / "nats_users.conf").read_bytes())
    nats = pytest.importorskip("tests.support.nats")
    result = subprocess.run(
        [nats.find_server(), "-t", "-c", tmp_path / "nats.conf"],
        env=os.environ | {"NATS_NAME": "nats-1"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_no_secret_goes_into_the_repository() -> None:
    command = ["git", "check-ignore", "--quiet", "--no-index", "deploy/secrets/master.key"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_secrets_are_made_once_and_are_for_their_owner(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    make_secrets(secrets)
    assert (secrets / "master.key").stat().st_size == 32
    assert secrets.stat().st_mode & 0o777 == 0o700
    (secrets / "chatledger.toml").chmod(0o600)
    (secrets / "chatledger.toml").write_text("# of whoever runs it\n")
    before = {file.name: file.read_bytes() for file in secrets.iterdir()}
    (secrets / "nats_users.conf").unlink()
    make_secrets(secrets)
    assert {file.name: file.read_bytes() for file in secrets.iterdir()} == before
