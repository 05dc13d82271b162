"""What the repository promises to whoever clones it: see CONTRIBUTING.md."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import chatledger

ROOT = Path(__file__).resolve().parent.parent


def tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"},
    ).stdout.decode()
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_package_registry() -> None:
    # Written in parts, as this file is looked through too.
    names = [
        "py" + "pi.org",
        "python" + "hosted",
        "npm" + "js.",
        "registry." + "npm",
        "un" + "pkg.com",
        "js" + "delivr",
    ]
    hosts = re.compile("|".join(map(re.escape, names)).encode())
    found = [str(path.relative_to(ROOT)) for path in tracked_files() if hosts.search(path.read_bytes())]
    assert found == []


def test_the_domain_imports_the_standard_library_and_msgspec_only() -> None:
    allowed = {"msgspec", *sys.stdlib_module_names}
    strays = []
    for path in sorted((ROOT / "chatledger" / "domain").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            match node:
                case ast.Import(names=names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module), level=0):
                    modules = [module]
                case _:
                    continue
            strays += [
                f"{path.name}: {module}"
                for module in modules
                if module.partition(".")[0] not in allowed and not module.startswith("chatledger.domain")
            ]
    assert strays == []


def test_what_threads_decode_was_looked_at_before_there_were_threads() -> None:
    """msgspec 0.22 crashes the process where two threads make it look at a type for the first time at once."""
    folders = ("chatledger/application", "chatledger/adapters/persistence")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    decodes_unprepared = re.compile(r"json\.decode\([^\n]*, type=")
    in_the_event_loop = {"managing_apps.py"}
    found = {path.name for path in modules if decodes_unprepared.search(path.read_text())}
    assert found <= in_the_event_loop


@pytest.mark.skipif(not (ROOT / "uv.lock").exists(), reason="not installed with uv")
def test_every_package_that_is_installed_is_pinned() -> None:
    command = [sys.executable, "scripts/lock.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_version_is_said_once() -> None:
    assert chatledger.__version__ == importlib.metadata.version("chatledger")


@pytest.mark.parametrize("script", ["run", "test", "faults", "scripts/uv"])
def test_the_scripts_are_posix_shell(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["sh", "-n", script], cwd=ROOT, check=True)
