"""What a replay shows: as lines of JSON, or as text that grows as it did for those who waited for it."""

import json
from typing import TYPE_CHECKING

import msgspec

from chatledger.adapters.cli.console import escaped, moment

if TYPE_CHECKING:
    from uuid import UUID

    from chatledger.application.replay.showing import Shown


class Line:
    """One line of JSON for each thing."""

    def show(self, thing: "Shown") -> None:
        """Print it."""
        from chatledger.application.ledger.envelope import from_microseconds  # noqa: PLC0415

        fields = msgspec.to_builtins(thing)
        del fields["kind"]
        at = from_microseconds(thing.at).isoformat(timespec="microseconds").replace("+00:00", "Z")
        line = {"event": thing.kind} | fields | {"at": at}
        print(escaped(json.dumps(line, ensure_ascii=False)), flush=True)

    def close(self) -> None:
        """Nothing is left open."""


class Terminal:
    """Text, and in brackets what happened to it. Between answers that were given at once headings say whose it is."""

    def __init__(self) -> None:
        self._shown: UUID | None = None
        self._is_within_line = False

    def show(self, thing: "Shown") -> None:
        """Print it."""
        if thing.kind == "question":
            self._begin(thing)
            self._say("[erased]" if thing.is_erased else "\n".join(f"> {line}" for line in thing.text.splitlines()))
            return
        if self._shown != thing.message_id:
            self._begin(thing)
        if thing.kind == "text":
            self._write(thing.text)
        elif thing.kind == "replacement":
            self._say("[replaced]")
            self._write(thing.text)
        else:
            self._say(_note(thing))

    def _begin(self, thing: "Shown") -> None:
        self._shown = thing.message_id
        self._say(f"-- {moment(thing.at)} message {thing.message_id}")

    def _say(self, line: str) -> None:
        if self._is_within_line:
            self._write("\n")
        self._write(f"{line}\n")

    def _write(self, text: str) -> None:
        if text:
            self._is_within_line = not text.endswith("\n")
            print("\n".join(escaped(line) for line in text.split("\n")), end="", flush=True)

    def close(self) -> None:
        """End the line."""
        if self._is_within_line:
            self._write("\n")


def _note(thing: "Shown") -> str:
    text, detail, usage = thing.text, thing.detail, thing.usage
    match thing.kind:
        case "step":
            said = ("step", ": ", " ".join(filter(None, (text, detail and f"calls {detail}"))))
        case "passages":
            said = ("passages", ": ", ", ".join(filter(None, text.splitlines())))
        case "file":
            said = ("file", ": ", text)
        case "retry":
            said = ("another attempt follows", ": ", f"{detail}: {text}")
        case "stop_requested":
            said = ("a stop is asked for by ", detail)
        case "stopped":
            said = ("stopped by ", detail)
        case "error":
            said = ("error ", f"{detail}: {text}")
        case _:
            said = ("completed", "" if usage is None else f": {usage.total_tokens} tokens, {usage.latency:.3f} s")
    return f"[{''.join(said)}]"
