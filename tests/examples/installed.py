"""chatledger as a host installs it: a wheel, in an environment that has nothing else."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

INSTALL_WITHIN = 120.0
RUN_WITHIN = 60.0


def clean_environment() -> dict[str, str]:
    """This process's environment without what leads to this checkout."""
    dropped = ("CHATLEDGER_", "COVERAGE", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def uv(*arguments: str) -> None:
    """Run uv, without a network where its cache has all that it needs."""
    for offline in (["--offline"], []):
        result = subprocess.run(
            [str(ROOT / "scripts" / "uv"), *arguments, *offline],
            env=clean_environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_WITHIN,
            check=False,
        )
        if result.returncode == 0:
            return
    raise AssertionError(f"uv {' '.join(arguments)}: {result.stderr}")


def build_wheel(folder: Path) -> Path:
    uv("build", "--wheel", "--quiet", "--out-dir", str(folder))
    (wheel,) = folder.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment with the wheel and, beside it, these packages of the versions that are pinned here."""

    def __init__(self, folder: Path, wheel: Path, packages: Sequence[str] = ()) -> None:
        self.python = folder / "venv" / "bin" / "python"
        pins = folder / "pins.txt"
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
        pins.write_text("\n".join(settings["constraint-dependencies"]))
        uv("venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
        command = ("pip", "install", "--quiet", "--python", str(self.python), "--constraint", str(pins))
        uv(*command, str(wheel), *packages)

    def run(self, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run its Python to the end, in this folder."""
        return subprocess.run(
            [str(self.python), *arguments],
            env=clean_environment(),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_WITHIN,
            check=False,
        )

    def start(self, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
        """Start its Python, in this folder."""
        return subprocess.Popen(
            [str(self.python), *arguments],
            env=clean_environment(),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
