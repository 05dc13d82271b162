"""``chatledger dead-letters``: looking over what failed for good, and asking it again."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from chatledger.adapters.cli.console import REFUSED, SUCCESS, ProgressLine, Result, listing, moment, table
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.orders import ReplayDeadLetters, Replayed
from chatledger.settings import Settings

if TYPE_CHECKING:
    from chatledger.application.ports.dead_letters import DeadLetter, WantedLetters
    from chatledger.application.queries.dead_letters import DeadLetterDetail, PastAttempt

PAGE = 100


def list_letters(settings: Settings, app_id: UUID | None, code: str | None, *, everything: bool, limit: int) -> Result:
    """The dead letters that are open, or all of them, the last that ended first."""
    letters, has_more = asyncio.run(_read_list(settings, app_id, code, everything=everything, limit=limit))
    if not letters:
        return Result([], "There are no dead letters.")
    rows = [
        (letter.message_id, letter.app_id, letter.code, letter.attempts, moment(letter.ended_at), len(letter.replays))
        for letter in letters
    ]
    text = table(("message", "app", "code", "attempts", "ended", "replays"), rows)
    older = "\n\nThere are older ones: --limit shows more." if has_more else ""
    return Result([_fields(letter) for letter in letters], text + older)


def show_letter(settings: Settings, message_id: UUID) -> Result:
    """One dead letter, and what became of its attempts."""
    detail = asyncio.run(_read_one(settings, message_id))
    fields, attempts = _fields(detail.letter), [_attempt(past) for past in detail.attempts]
    shown = fields | {"reason": detail.reason}
    text = listing(shown | {"replays": ", ".join(map(str, detail.letter.replays)) or "none"})
    if attempts:
        headings = ("attempt", "worker", "started", "ended", "outcome", "code", "not before", "detail")
        rows = [["" if value is None else value for value in attempt.values()] for attempt in attempts]
        text += f"\n\n{table(headings, rows)}"
    return Result(shown | {"history": attempts}, text)


def replay(settings: Settings, wanted: ReplayDeadLetters) -> Result:
    """Ask again; refused where any of them was."""
    done = deliver(settings, wanted, Replayed, progress=ProgressLine("replay", "messages"))
    if not done.replays:
        return Result([], "There is nothing to replay.")
    outcome = "is answered in the background" if done.are_answered else "is answered by the next server"
    rows = [(each.message_id, each.replay or "", each.refusal or outcome) for each in done.replays]
    is_refused = any(each.refusal for each in done.replays)
    text = table(("message", "replay", "outcome"), rows)
    return Result(done.replays, text, REFUSED if is_refused else SUCCESS)


async def _read_list(
    settings: Settings, app_id: UUID | None, code: str | None, *, everything: bool, limit: int
) -> "tuple[Sequence[DeadLetter], bool]":
    from chatledger.application.ports.views import Page  # noqa: PLC0415
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    wanted, found, has_more = _wanted(app_id, code, everything=everything), list["DeadLetter"](), True
    async with open_for_reading(settings) as reading:
        while has_more and len(found) < limit:
            page = Page(min(PAGE, limit - len(found)), found[-1].message_id if found else None)
            letters, has_more = await reading.dead_letters.page(wanted, page)
            found += letters
    return found, has_more


async def _read_one(settings: Settings, message_id: UUID) -> "DeadLetterDetail":
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        return await reading.dead_letters.show(message_id)


def _wanted(app_id: UUID | None, code: str | None, *, everything: bool) -> "WantedLetters":
    from typing import get_args  # noqa: PLC0415

    from chatledger.application.accepting import accept_choice  # noqa: PLC0415
    from chatledger.application.ports.dead_letters import WantedLetters  # noqa: PLC0415
    from chatledger.domain.values import ErrorCode  # noqa: PLC0415

    return WantedLetters(
        app_id=app_id,
        code=None if code is None else accept_choice("code", code, get_args(ErrorCode)),
        is_open=None if everything else True,
    )


def _fields(letter: "DeadLetter") -> dict[str, Any]:
    times = {"created_at": moment(letter.created_at), "ended_at": moment(letter.ended_at)}
    return msgspec.structs.asdict(letter) | times


def _attempt(past: "PastAttempt") -> dict[str, Any]:
    return {
        "attempt": past.attempt,
        "worker": past.worker,
        "started_at": moment(past.started_at),
        "ended_at": moment(past.ended_at),
        "outcome": past.outcome,
        "code": past.code,
        "not_before": None if past.not_before is None else moment(past.not_before),
        "detail": past.detail,
    }
