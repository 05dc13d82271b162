"""``chatledger replay``: a message or a conversation once more as clients saw it, or put to another generator."""

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from chatledger.adapters.cli.console import REFUSED, SUCCESS, WRONG_USAGE, CommandFailedError, ProgressLine, Result
from chatledger.adapters.cli.replayed import Line, Terminal
from chatledger.settings import Settings

if TYPE_CHECKING:
    from chatledger.application.replay.shadow import Rival, ShadowReport
    from chatledger.bootstrap import Replaying

USUAL_CONCURRENCY = 4


class WantedReplay(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be replayed.

    Attributes:
        stream_id: of a message or a conversation.
        as_of: a position or a time that it is replayed up to; None is now.
        speed: so many times the recorded pace; 0 is at once, None the recorded one.
        against: an app, whose configuration answers, or the name of a generator.
        change: the settings of that generator.
        concurrency: how many messages are put to it at once.
    """

    stream_id: UUID
    as_of: str | None = None
    speed: float | None = None
    against: str | None = None
    change: dict[str, str] = {}
    concurrency: int | None = None


def replay(settings: Settings, wanted: WantedReplay, *, as_json: bool) -> "Result | int":
    """Replay it; beside a server, too. Nothing is written."""
    if wanted.against is None and (wanted.change or wanted.concurrency is not None):
        raise CommandFailedError("--set and --concurrency need --against", WRONG_USAGE)
    if wanted.against is not None and wanted.speed is not None:
        raise CommandFailedError("--speed is for what was: --against goes as fast as it is answered", WRONG_USAGE)
    return asyncio.run(_replay(settings, wanted, as_json=as_json))


async def _replay(settings: Settings, wanted: WantedReplay, *, as_json: bool) -> "Result | int":
    from chatledger.application.as_of import position_of  # noqa: PLC0415
    from chatledger.bootstrap import open_for_replay  # noqa: PLC0415

    async with open_for_replay(settings, wanted.concurrency or USUAL_CONCURRENCY) as replaying:
        ledger = replaying.ledger
        end = (await ledger.head()).position
        up_to = end if wanted.as_of is None else await position_of(wanted.as_of, ledger, replaying.clock)
        if wanted.against is None:
            await _show(replaying, wanted, up_to, as_json=as_json)
            return SUCCESS
        rival = await _rival(replaying, wanted.against, wanted.change)
        progress = ProgressLine("shadow", "messages")
        return _result(await replaying.shadows.compare(wanted.stream_id, rival, up_to, progress))


async def _show(replaying: "Replaying", wanted: WantedReplay, up_to: int, *, as_json: bool) -> None:
    from chatledger.application.replay.replays import paced  # noqa: PLC0415

    await replaying.replays.subject_at(wanted.stream_id, up_to)
    speed = 1.0 if wanted.speed is None else wanted.speed or None
    screen = Line() if as_json else Terminal()
    async for thing in paced(replaying.replays.shown(wanted.stream_id, up_to), speed, replaying.clock):
        screen.show(thing)
    screen.close()


async def _rival(replaying: "Replaying", against: str, change: dict[str, str]) -> "Rival":
    """Who is asked in the other's place.

    Raises:
        NotFoundError: there is no such app.
        CommandFailedError: there is no such generator, or it has no such settings.
    """
    from chatledger.application.errors import NotFoundError  # noqa: PLC0415
    from chatledger.application.ports.generator import SettingsError  # noqa: PLC0415
    from chatledger.application.replay.shadow import Rival  # noqa: PLC0415

    try:
        app_id = UUID(against)
    except ValueError:
        generator = replaying.generators.get(against)
        if generator is None:
            known = ", ".join(sorted(replaying.generators))
            reason = f"--against names an app by its id, or one of the generators {known}"
            raise CommandFailedError(reason, WRONG_USAGE) from None
        try:
            generator.check_settings(change)
        except SettingsError as error:
            raise CommandFailedError(f"--set: {error}", WRONG_USAGE) from error
        return Rival(generator, change)
    if change:
        raise CommandFailedError("--set is for a generator that is named: an app has settings of its own", WRONG_USAGE)
    app = await replaying.views.app(app_id)
    if app is None:
        raise NotFoundError("app")
    generator = replaying.generators.get(app.configuration.generator)
    if generator is None:
        raise CommandFailedError(f"there is no generator named {app.configuration.generator} here")
    return Rival(generator, app.configuration.settings, app.configuration.prices)


def _result(report: "ShadowReport") -> Result:
    from chatledger.adapters.cli.shadow_report import as_text  # noqa: PLC0415

    return Result(report, as_text(report), REFUSED if report.shadow.errors else SUCCESS)
