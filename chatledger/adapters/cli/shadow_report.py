"""The report of a shadow replay, for people."""

from collections.abc import Sequence

from chatledger.adapters.cli.console import escaped, table
from chatledger.application.replay.differences import marked
from chatledger.application.replay.shadow import Answered, Compared, ShadowReport, Sums


def as_text(report: ShadowReport) -> str:
    """A table, then each answer that differs, then the sums."""
    headings = ("message", "original", "shadow", "likeness", "tokens", "latency", "first token")
    rows = [_row(each) for each in report.messages]
    differing = [_differences(each) for each in report.messages if _differs(each)]
    return "\n\n".join((table(headings, rows), *differing, _totals(report)))


def _row(compared: Compared) -> Sequence[object]:
    original, shadow = compared.original, compared.shadow
    if shadow is None:
        return (compared.message_id, original.outcome, f"not asked: {compared.skipped}")
    alike = "" if compared.likeness is None else f"{compared.likeness:.2f}"
    measures = [f"{_tokens(original)} / {_tokens(shadow)}", f"{_latency(original)} / {_latency(shadow)}"]
    first = f"{_first_token(original)} / {_first_token(shadow)}"
    return (compared.message_id, original.outcome, shadow.outcome, alike, *measures, first)


def _tokens(answered: Answered) -> object:
    return "-" if answered.usage is None else answered.usage.total_tokens


def _latency(answered: Answered) -> str:
    return "-" if answered.usage is None else _seconds(answered.usage.latency)


def _first_token(answered: Answered) -> str:
    return _seconds(None if answered.usage is None else answered.usage.time_to_first_token)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f} s"


def _differs(compared: Compared) -> bool:
    original, shadow = compared.original, compared.shadow
    if shadow is None:
        return False
    return original.text != shadow.text or (original.outcome, original.error) != (shadow.outcome, shadow.error)


def _differences(compared: Compared) -> str:
    original, shadow = compared.original, compared.shadow
    lines = [f"-- message {compared.message_id}", *(f"> {line}" for line in compared.question.splitlines())]
    for side, answered in (("original", original), ("shadow", shadow)):
        if answered is not None and answered.outcome != "completed":
            lines.append(f"[{side} {' '.join(filter(None, (answered.outcome, answered.error_code, answered.error)))}]")
    if shadow is not None and shadow.text != original.text:
        lines += marked(original.text, shadow.text).splitlines()
    return "\n".join(map(escaped, lines))


def _totals(report: ShadowReport) -> str:
    headings = ("", "errors", "prompt tokens", "completion tokens", "latency", "median latency", "median first token")
    rows = [_sums("original", report.original), _sums(f"shadow: {report.generator}", report.shadow)]
    alike = "" if report.likeness is None else f", likeness {report.likeness:.2f}"
    skipped = f" {report.skipped:,} were not asked again." if report.skipped else ""
    summary = f"{report.compared:,} answers were compared: {report.equal:,} are equal{alike}.{skipped}"
    return f"{table(headings, rows)}\n\n{summary}"


def _sums(side: str, sums: Sums) -> Sequence[object]:
    tokens = (sums.prompt_tokens, sums.completion_tokens)
    times = map(_seconds, (sums.latency, sums.median_latency, sums.median_time_to_first_token))
    return (side, sums.errors, *tokens, *times)
