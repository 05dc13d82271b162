"""What is deployed passes the linters of those who read it."""

import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.deploy.files import CHART, COMPOSE_FILES, EVERYTHING, MINIMAL, ROOT, render


def run(linter: str, *arguments: str | Path) -> None:
    """It has to find nothing. Linters that have no package for this platform are passed over."""
    program = shutil.which(linter, path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.skip(f"{linter} has no package for this platform")
    result = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_dockerfile() -> None:
    run("hadolint", "--failure-threshold", "style", "Dockerfile")


def test_compose_files_are_of_the_compose_specification() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *COMPOSE_FILES)


def test_compose_files_lock_their_containers_up() -> None:
    run("compose-lint", "check", "--strict-config", "--no-env", "--fail-on", "low", *COMPOSE_FILES)


def test_yaml() -> None:
    run("yamllint", "--strict", "deploy", ".yamllint", ".compose-lint.yml")


def test_the_secrets_are_made_by_a_posix_shell() -> None:
    subprocess.run(["sh", "-n", "deploy/make-secrets"], cwd=ROOT, check=True)


@pytest.mark.parametrize("values", [MINIMAL, EVERYTHING], ids=["minimal", "everything"])
def test_the_chart_by_helms_own_linter(values: dict[str, Any]) -> None:
    helm = pytest.importorskip("helm_python")
    report = helm.lint(CHART, values, strict=True)
    assert not report["errors"]
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize(("version", "values"), [("1.30.0", EVERYTHING), ("1.37.0", MINIMAL)], ids=["oldest", "newest"])
def test_what_the_chart_makes_is_of_kubernetes_schemas(version: str, values: dict[str, Any]) -> None:
    made = render(values)
    assert {one["kind"] for one in made} >= {"Deployment", "Job", "Service", "NetworkPolicy", "PodDisruptionBudget"}
    for one in made:
        kubernetes_validate.validate(one, version, strict=True)
