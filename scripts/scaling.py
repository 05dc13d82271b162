"""The arithmetic of docs/scaling.md: from messages a day to events, commits, cores, bytes and connections.

    scripts/uv run scripts/scaling.py                              the tables of the page
    scripts/uv run scripts/scaling.py --write                      the same, into the page
    scripts/uv run scripts/scaling.py --messages 2e6 --tokens 500  the table of a load of your own

What was measured is at the top, in the form in which `python -m benchmarks` prints it. Put your own machine's there.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"

DAY = 86_400
YEAR = 365
GIGA = 1e9


@dataclass(frozen=True)
class Measured:
    """One run on a machine with two cores, which PostgreSQL, chatledger and the clients share."""

    few: tuple[int, float] = (100, 18_484)
    """`appends_per_second`: events a commit, events per second."""
    many: tuple[int, float] = (500, 20_694)
    """The same with larger commits."""
    delivered: float = 2_000
    """`streams_at_pace`: tokens per second, each an event and a frame to one follower."""
    node_cores: float = 0.57
    """CPU seconds of the node for these, per second."""
    database_cores: float = 0.22
    """The same of PostgreSQL's processes."""
    streams: float = 1_000
    """The most streams at 20 tokens/s that one process held with 99 of 100 tokens less than 250 ms late."""
    follower_bytes: float = 41_000
    """`open_followers`: memory of one in all."""
    event_bytes: float = 266
    """`message_bytes`: of tables and indexes, for each event beside its text."""
    message_bytes: float = 3_940
    """The same for each message, its read models and keys, beside its text."""
    event_log: float = 378
    """Write-ahead log for each event."""
    message_log: float = 8_470
    """The same for each message."""

    @property
    def event_seconds(self) -> float:
        """How much longer a commit takes for each event in it."""
        (few, few_rate), (many, many_rate) = self.few, self.many
        return (many / many_rate - few / few_rate) / (many - few)

    @property
    def commit_seconds(self) -> float:
        """What a commit takes beside that."""
        few, rate = self.few
        return few / rate - few * self.event_seconds

    @property
    def ceiling(self) -> float:
        """Events per second of one ledger, however large its commits."""
        return 1 / self.event_seconds


@dataclass(frozen=True)
class Load:
    """What is asked for."""

    messages: float = 10e6
    """Messages a day."""
    peak: float = 3
    """The busiest second against the average one."""
    tokens: float = 300
    """Tokens of an answer."""
    pace: float = 50
    """Tokens per second of the provider."""
    first_token: float = 1
    """Seconds until it begins."""
    flush_ms: float = 50
    """The setting `flush_interval_ms`."""
    text: float = 1_500
    """Bytes of a question and its answer."""
    conversation: float = 6
    """Messages of a conversation."""
    headroom: float = 0.5
    """How much of a ceiling may be planned for."""


@dataclass(frozen=True)
class Needs:
    """What a load needs."""

    average: float
    peak: float
    under_way: float
    events_per_message: float
    events: float
    share: float
    piece_ms: float
    ledgers: int
    batch: float
    commits: float
    node_cores: float
    database_cores: float
    workers: int
    stored_a_day: float
    log_a_day: float
    followers: float


def needs(load: Load, measured: Measured) -> Needs:
    """Work it out; every line is one of the page."""
    average = load.messages / DAY
    peak = average * load.peak
    under_way = peak * (load.first_token + load.tokens / load.pace)
    chunks = math.ceil(load.tokens / max(1.0, load.pace * load.flush_ms / 1_000))
    # MessageCreated, GenerationStarted and MessageCompleted; ConversationStarted and ConversationRenamed.
    events_per_message = chunks + 3 + 2 / load.conversation
    events = peak * events_per_message
    ledgers = math.ceil(events / (load.headroom * measured.ceiling))
    # While one commit runs, the events of the next gather: batch = rate * (commit + batch * event).
    rate = events / ledgers
    batch = max(1.0, rate * measured.commit_seconds / (1 - rate * measured.event_seconds))
    node_cores = events * measured.node_cores / measured.delivered
    return Needs(
        average=average,
        peak=peak,
        under_way=under_way,
        events_per_message=events_per_message,
        events=events,
        share=events / measured.ceiling,
        piece_ms=max(load.flush_ms, 1_000 * peak * load.tokens / load.pace / measured.ceiling),
        ledgers=ledgers,
        batch=batch,
        commits=ledgers * rate / batch,
        node_cores=node_cores,
        database_cores=events * measured.database_cores / measured.delivered,
        workers=math.ceil(max(under_way / measured.streams, node_cores) / load.headroom) + 1,
        stored_a_day=load.messages
        * (events_per_message * measured.event_bytes + measured.message_bytes + 2 * load.text),
        log_a_day=load.messages * (events_per_message * measured.event_log + measured.message_log),
        followers=under_way * measured.follower_bytes,
    )


def number(value: float) -> str:
    """Two digits that count below 100, three from there on."""
    if value == 0 or value >= 100:
        digits = max(0, len(str(round(value))) - 3)
        return f"{round(value, -digits):,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


ROWS: Sequence[tuple[str, Callable[[Load, Needs], str]]] = (
    ("messages per second, on average and at the peak", lambda _, n: f"{number(n.average)}, {number(n.peak)}"),
    ("answers under way at the peak", lambda _, n: number(n.under_way)),
    ("events per message", lambda _, n: number(n.events_per_message)),
    ("events per second at the peak", lambda _, n: number(n.events)),
    ("of one ledger's ceiling", lambda _, n: f"{n.share:.0%}"),
    ("on one ledger a piece of each answer comes every", lambda _, n: f"{number(n.piece_ms)} ms"),
    ("ledgers, each planned to half of its ceiling", lambda _, n: str(n.ledgers)),
    ("commits per second, and events in each", lambda _, n: f"{number(n.commits)}, {number(n.batch)}"),
    ("cores of nodes, and of databases", lambda _, n: f"{number(n.node_cores)}, {number(n.database_cores)}"),
    ("processes with workers, one to spare", lambda _, n: str(n.workers)),
    ("memory of followers", lambda _, n: f"{number(n.followers / GIGA)} GB"),
    ("stored a day, and a year", lambda _, n: f"{number(n.stored_a_day / GIGA)} GB, {terabytes(n.stored_a_day)} TB"),
    ("write-ahead log a day", lambda _, n: f"{number(n.log_a_day / GIGA)} GB"),
)


def terabytes(a_day: float) -> str:
    """In a year."""
    return number(a_day * YEAR / GIGA / 1_000)


def table(loads: Sequence[Load], measured: Measured) -> str:
    """The rows for each load, in Markdown."""
    heads = [f"{number(load.messages / 1e6)} million a day, {load.flush_ms:g} ms" for load in loads]
    lines = [f"| | {' | '.join(heads)} |", "| --- " * (len(loads) + 1) + "|"]
    worked_out = [(load, needs(load, measured)) for load in loads]
    lines += [f"| {name} | {' | '.join(row(load, found) for load, found in worked_out)} |" for name, row in ROWS]
    return "\n".join(lines)


def ceilings(measured: Measured) -> str:
    """What one ledger gives by the size of its commits, in Markdown."""
    lines = ["| events a commit | a commit takes | events per second |", "| --- | --- | --- |"]
    for events in (1, 10, 100, 500, 2_000):
        takes = measured.commit_seconds + events * measured.event_seconds
        lines.append(f"| {events:,} | {number(takes * 1_000)} ms | {number(events / takes)} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[Measured], str]] = {
    "ceilings": ceilings,
    "loads": lambda measured: table(
        [Load(messages, flush_ms=flush) for messages in (1e6, 10e6, 100e6) for flush in (50, 250)], measured
    ),
}


def written(page: str, measured: Measured) -> str:
    """The page with its tables as they are now."""
    for name, make in TABLES.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise ValueError(f"{PAGE.name} has no table {name}")
        page = f"{before}{begin}{make(measured)}\n{end}{after}"
    return page


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="From messages a day to what they need.")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/scaling.md")
    for field in fields(Load):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, metavar="N", help=f"{field.default:g}")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    measured = Measured()
    if given.pop("write"):
        PAGE.write_text(written(PAGE.read_text(), measured))
    elif given:
        print(table([replace(Load(), **given)], measured))
    else:
        print("\n\n".join(make(measured) for make in TABLES.values()))


if __name__ == "__main__":
    main()
