"""``chatledger export``: the ledger, or a part of it, as lines that can be checked without it."""

import asyncio
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from chatledger.adapters.cli.console import WRONG_USAGE, CommandFailedError, ProgressLine, Result
from chatledger.settings import Settings

if TYPE_CHECKING:
    from chatledger.application.audit.carrying_files import CarriedFiles
    from chatledger.application.audit.export_lines import ExportScope
    from chatledger.application.audit.exporting import Export, Exporting
    from chatledger.bootstrap import Reading


class WantedExport(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be exported, and where to.

    Attributes:
        user: a person of the app's, by the external id or by their own.
        output: a file that is not there yet, or None for stdout.
        files: a folder for the bytes of uploaded files.
        keys: a file for a copy of the key store.
    """

    app_id: UUID | None = None
    user: str | None = None
    conversation_id: UUID | None = None
    output: Path | None = None
    files: Path | None = None
    keys: Path | None = None


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was exported; ``through`` is the last position that was looked at."""

    output: str
    events: int
    through: int
    taken_up_after: int
    files: int
    missing_files: int
    keys: str | None


def export(settings: Settings, wanted: WantedExport) -> "Result | int":
    """Write an export; beside a server, too."""
    if wanted.user is not None and wanted.app_id is None:
        raise CommandFailedError("--user needs --app: each app has people of its own", WRONG_USAGE)
    if wanted.output is None and (wanted.files or wanted.keys):
        raise CommandFailedError("--files and --keys need --output", WRONG_USAGE)
    if wanted.keys is not None and (wanted.app_id or wanted.conversation_id):
        raise CommandFailedError("--keys copies the whole key store: it goes with a whole ledger alone", WRONG_USAGE)
    return asyncio.run(_export(settings, wanted))


async def _export(settings: Settings, wanted: WantedExport) -> "Result | int":
    from chatledger.application.audit.exporting import Exporting  # noqa: PLC0415
    from chatledger.application.system_clock import SystemClock, new_id  # noqa: PLC0415
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        scope = await _scope(reading, wanted)
        exporting = Exporting(reading.exported, SystemClock(), new_id)
        if wanted.output is None:
            return await asyncio.to_thread(_print, exporting, scope)
        return await _write(settings, exporting, scope, wanted, wanted.output)


async def _scope(reading: "Reading", wanted: WantedExport) -> "ExportScope":
    """What is to be exported.

    Raises:
        NotFoundError: there is no such app, person or conversation, or it is another's.
    """
    from chatledger.application.audit.export_lines import ExportScope  # noqa: PLC0415
    from chatledger.application.caller import EndUsers  # noqa: PLC0415
    from chatledger.application.errors import NotFoundError  # noqa: PLC0415

    app_id, end_user_id = wanted.app_id, None
    if app_id is not None and await reading.views.app(app_id) is None:
        raise NotFoundError("app")
    if app_id is not None and wanted.user is not None:
        end_users = EndUsers(reading.views, reading.keyring)
        end_user_id = await end_users.named_or_own(app_id, "service-api", wanted.user)
    if wanted.conversation_id is not None:
        owners = await asyncio.to_thread(reading.exported.conversation_owners, wanted.conversation_id)
        if owners is None or app_id not in {None, owners[0]} or end_user_id not in {None, owners[1]}:
            raise NotFoundError("conversation")
        return ExportScope(conversation_id=wanted.conversation_id)
    return ExportScope(end_user_id=end_user_id) if end_user_id else ExportScope(app_id=app_id)


def _print(exporting: "Exporting", scope: "ExportScope") -> int:
    export = exporting.begin(scope)
    sys.stdout.buffer.write(export.first_line())
    for lines in export.rest(lambda _done, _total: None):
        sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()
    return 0


def _copy_keys(settings: Settings, target: Path) -> None:
    from chatledger.adapters.keys.copying import copy_key_store  # noqa: PLC0415
    from chatledger.bootstrap.data_folder import open_key_store  # noqa: PLC0415

    with closing(open_key_store(settings, read_only=True)) as store:
        copy_key_store(store, target)


async def _write(
    settings: Settings, exporting: "Exporting", scope: "ExportScope", wanted: WantedExport, output: Path
) -> Result:
    from chatledger.application.audit.export_file import ExportFile  # noqa: PLC0415

    with ExportFile(output) as file:
        export = await asyncio.to_thread(file.write, exporting, scope, ProgressLine("export"))
        carried = await _carry_files(settings, export, wanted.files)
        if wanted.keys is not None:
            await asyncio.to_thread(_copy_keys, settings, wanted.keys)
        file.finish()
    exported = Exported(
        output=str(output),
        events=export.done,
        through=export.begun.through,
        taken_up_after=file.taken_up_after,
        files=carried.carried,
        missing_files=carried.missing,
        keys=None if wanted.keys is None else str(wanted.keys),
    )
    return Result(exported, _told(exported, wanted))


async def _carry_files(settings: Settings, export: "Export", folder: Path | None) -> "CarriedFiles":
    from chatledger.adapters.files.folder import FolderBlobStore  # noqa: PLC0415
    from chatledger.application.audit.carrying_files import CarriedFiles, carry_files  # noqa: PLC0415
    from chatledger.bootstrap import blobs_to_read  # noqa: PLC0415

    if folder is None:
        return CarriedFiles(0, 0)
    target = await asyncio.to_thread(FolderBlobStore, folder)
    return await carry_files(export.files, blobs_to_read(settings), target, ProgressLine("files", "files"))


def _told(exported: Exported, wanted: WantedExport) -> str:
    lines = [f"{exported.output} has {exported.events:,} events, up to position {exported.through:,}."]
    if wanted.files is not None:
        missing = f"; {exported.missing_files:,} are erased or missing" if exported.missing_files else ""
        lines.append(f"{wanted.files} has the bytes of {exported.files:,} files, sealed{missing}.")
    if exported.keys is not None:
        lines.append(
            f"{exported.keys} has the keys, sealed by the master key, which is not there: take it another way."
        )
    return "\n".join(lines)
