"""Pin every dependency in this repository, without naming the registry that they come from.

`uv.lock` holds the address of each file in the registry of whoever wrote it, so it is not committed. Instead this
script lets uv lock the project and writes what it chose to two places:

* `[tool.uv] constraint-dependencies` in pyproject.toml: one exact version for each package that any extra, group,
  platform or supported Python needs. `uv run` and `uv sync` obey it with whatever registry they are set up for.
* `requirements.lock`: the runtime with the extra `all`, with hashes, for images and releases
  (`uv pip sync --require-hashes requirements.lock`).

    scripts/uv run scripts/lock.py                    after a change of dependencies; keeps the pins there are
    scripts/uv run scripts/lock.py --upgrade          takes the newest of everything
    scripts/uv run scripts/lock.py --upgrade ruff uv  takes the newest of these
    scripts/uv run scripts/lock.py --check            only says whether the pins cover uv.lock, offline
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
REQUIREMENTS = ROOT / "requirements.lock"
UV_LOCK = ROOT / "uv.lock"
PINS = re.compile(r"^constraint-dependencies = \[\n(?:[^\]\n].*\n)*\]\n", re.MULTILINE)


def render(pins: list[str]) -> str:
    """Give the TOML of the pins."""
    return "constraint-dependencies = [\n" + "".join(f'  "{pin}",\n' for pin in pins) + "]\n"


def name_of(requirement: str) -> str:
    """Give the normalized name of the package that a requirement is about."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()


def current_pins() -> list[str]:
    """Read the pins that pyproject.toml has."""
    return tomllib.loads(PYPROJECT.read_text())["tool"]["uv"]["constraint-dependencies"]


def uv(folder: Path, *arguments: str) -> str:
    """Run uv on the copy of the project in the folder."""
    command = [str(ROOT / "scripts" / "uv"), "--project", str(folder), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder).stdout


def versions(locked: dict[str, Any]) -> dict[str, list[str]]:
    """Give the versions of each package in a parsed uv.lock; more than one where Pythons or platforms differ."""
    found: dict[str, list[str]] = defaultdict(list)
    for package in locked["package"]:
        if "registry" in package["source"]:
            found[package["name"]].append(package["version"])
    return found


def pins_of(folder: Path) -> list[str]:
    """Turn what uv locked in the folder into pins."""
    locked = tomllib.loads((folder / "uv.lock").read_text())
    pins = [f"{name}=={only[0]}" for name, only in versions(locked).items() if len(only) == 1]
    split = {name for name, several in versions(locked).items() if len(several) > 1}
    if split:
        exported = uv(
            folder, "export", "--quiet", "--all-extras", "--all-groups", "--no-hashes", "--no-annotate", "--no-header"
        )
        pins += [line.replace('"', "'") for line in exported.splitlines() if name_of(line) in split]
    return sorted(pins)


def lock(upgrade: list[str] | None) -> None:
    """Write the pins and the requirements."""
    kept = [] if upgrade == [] else [pin for pin in current_pins() if name_of(pin) not in map(name_of, upgrade or [])]
    text = PYPROJECT.read_text()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pyproject.toml").write_text(PINS.sub(lambda _: render(kept), text))
        uv(folder, "lock", "--quiet")
        pins = pins_of(folder)
        (folder / "pyproject.toml").write_text(PINS.sub(lambda _: render(pins), text))
        uv(folder, "lock", "--quiet")
        requirements = uv(
            folder,
            "export",
            "--quiet",
            "--no-dev",
            "--extra",
            "all",
            "--no-emit-project",
            "--no-annotate",
            "--no-header",
        )
    PYPROJECT.write_text(PINS.sub(lambda _: render(pins), text))
    REQUIREMENTS.write_text("# Written by scripts/lock.py: the runtime with the extra `all`.\n" + requirements)
    for pin in sorted(set(pins) ^ set(kept)):
        print("+" if pin in pins else "-", pin)
    print(f"{len(pins)} pins")


def check() -> int:
    """Say which packages of uv.lock no pin covers, and which pins no package needs."""
    locked = {
        f"{name}=={version}"
        for name, several in versions(tomllib.loads(UV_LOCK.read_text())).items()
        for version in several
    }
    pinned = {pin.partition(" ;")[0].strip() for pin in current_pins()}
    hashed = {line.partition(" ")[0] for line in REQUIREMENTS.read_text().splitlines() if re.match(r"[a-z0-9]", line)}
    faults = [f"not pinned: {pin}" for pin in sorted(locked - pinned)]
    faults += [f"pinned, but not needed: {pin}" for pin in sorted(pinned - locked)]
    faults += [f"in requirements.lock, but not locked: {pin}" for pin in sorted(hashed - locked)]
    print("\n".join(faults) or f"{len(pinned)} pins, all of what uv locked")
    if faults:
        print("Run scripts/uv run scripts/lock.py", file=sys.stderr)
    return 1 if faults else 0


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Pin every dependency.")
    parser.add_argument("--upgrade", nargs="*", metavar="PACKAGE", help="take the newest of these packages, or of all")
    parser.add_argument("--check", action="store_true", help="compare the pins with uv.lock, write nothing")
    arguments = parser.parse_args()
    if arguments.check:
        return check()
    lock(arguments.upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
