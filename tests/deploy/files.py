"""What is deployed, as those who deploy it read it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILES = sorted((ROOT / "deploy").glob("compose*.yaml"))
CHART = ROOT / "deploy" / "helm" / "chatledger"

MINIMAL: dict[str, Any] = {"files": {"url": "s3://bucket/folder"}}
EVERYTHING: dict[str, Any] = {
    "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": [{"name": "pull"}]},
    "queue": "postgres",
    "settings": {"public_url": "https://chat.example.org", "max_body_bytes": 2_000_000, "search": False},
    "files": {"existingClaim": "files"},
    "shutdownGrace": 2.5,
    "api": {
        "autoscaling": {"enabled": True},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "chat", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
    },
    "worker": {"autoscaling": {"enabled": True}},
    "ingress": {"enabled": True, "className": "public", "annotations": {"a": "b"}, "tlsSecret": "certificate"},
    "networkPolicy": {"from": [{"podSelector": {}}]},
}


def compose(file: Path) -> dict[str, Any]:
    """A Compose file, its anchors and merges resolved."""
    return yaml.safe_load(file.read_text())


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    """What Helm would install of the chart."""
    helm = pytest.importorskip("helm_python")
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values, name="chat", namespace="somewhere")
    files = (text for name, text in rendered.items() if name.endswith(".yaml"))
    return [made for text in files for made in yaml.safe_load_all(text) if made]


def containers(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The containers of what is rendered, by their names, each beside the specification of its pod."""
    pods = [made["spec"]["template"]["spec"] for made in render(values) if made["kind"] in {"Deployment", "Job"}]
    return {container["name"]: container | {"pod": pod} for pod in pods for container in pod["containers"]}
