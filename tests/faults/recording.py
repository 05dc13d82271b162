"""What a client received, connection by connection, as JSON lines that can be read afterwards."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Recording:
    """Everything that one client asked for and was sent, in order, by a clock that never goes back.

    Attributes:
        client: who it was.
        connections: how many it has begun.
        entries: seconds of the clock, number of the connection, and ``request``, ``status``, ``block`` or ``end`` with
            its text.
    """

    client: str
    connections: int = 0
    entries: list[tuple[float, int, str, Any]] = field(default_factory=list)

    def request(self, line: str) -> None:
        """A connection begins."""
        self.connections += 1
        self._note("request", line)

    def status(self, code: int) -> None:
        """What the server answers before its first byte."""
        self._note("status", code)

    def block(self, text: str) -> None:
        """A block of a stream has come whole, or a body has."""
        self._note("block", text)

    def end(self, how: str) -> None:
        """The connection is over: ``closed`` by the server, or the name of what cut it."""
        self._note("end", how)

    def _note(self, what: str, text: Any) -> None:
        self.entries.append((time.monotonic(), self.connections, what, text))

    @property
    def has_been_cut(self) -> bool:
        """Whether a connection of it has ended."""
        return any(what == "end" for _, _, what, _ in self.entries)

    def write(self, folder: Path) -> None:
        """Write it to a file of its client's name."""
        lines = [
            json.dumps({"at": round(at, 6), "connection": connection, what: text}, ensure_ascii=False)
            for at, connection, what, text in self.entries
        ]
        write_lines(folder / f"{self.client}.jsonl", lines)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a file and the folders that lead to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
