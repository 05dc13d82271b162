"""The walk-through of docs/auditing.md does what it says, from an empty folder."""

import re
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.process import environment

ROOT = Path(__file__).parents[2]
END_OF_BLOCK = "----- end of block -----"
WITHIN = 120.0

HASTY = {"CHATLEDGER_DURABILITY": "relaxed"}


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Each program of the walk-through, and what it is said to print."""
    walk = page.partition("\n## A walk-through\n")[2]
    return re.findall(r"```sh\n(.*?)```\n(?:\n```text\n(.*?)```)?", walk, re.DOTALL)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def require_in_order(told: str, printed: str) -> None:
    """Each line that the guide tells is printed, in its order; ``...`` is anything."""
    lines = iter(printed.splitlines())
    for line in filter(None, told.splitlines()):
        pattern = re.escape(line).replace(re.escape("..."), ".*")
        assert any(re.fullmatch(pattern, found) for found in lines), f"{line!r} is not in:\n{printed}"


def test_the_walk_through_does_what_it_says(tmp_path: Path) -> None:
    blocks = blocks_of((ROOT / "docs" / "auditing.md").read_text())
    script = "".join(f"{program}\necho '{END_OF_BLOCK}'\n" for program, _ in blocks)
    script = script.replace("/path/to/chatledger/.venv/bin", str(Path(sys.executable).parent))
    script = script.replace("CHATLEDGER_PORT=8000", f"CHATLEDGER_PORT={free_port()}")
    walked = subprocess.run(
        ["bash", "-eu", "-c", "SERVER=; trap 'kill $SERVER 2>/dev/null || true' EXIT\n" + script],
        cwd=tmp_path,
        env=environment(tmp_path / "data", HASTY),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    printed = walked.stdout.split(f"{END_OF_BLOCK}\n")
    assert (walked.returncode, len(printed)) == (0, len(blocks) + 1), walked.stdout
    assert len(blocks) >= 8
    for (_, told), found in zip(blocks, printed, strict=False):
        require_in_order(told, found)
