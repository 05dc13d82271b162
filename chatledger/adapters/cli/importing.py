"""``chatledger import``: a whole ledger from an export, into an empty store."""

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from chatledger.adapters.cli.console import ProgressLine, Result
from chatledger.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from chatledger.application.audit.carrying_files import CarriedFiles
    from chatledger.application.audit.exporting import FileBytes
    from chatledger.bootstrap import ForImport

T = TypeVar("T")


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What was imported.

    Attributes:
        events: how many the ledger has now.
        were_there: how many of them an interrupted import had written.
        root: of the Merkle tree of their leaves, base64.
        has_keys: whether what they sealed can be read here.
    """

    events: int
    were_there: int
    root: bytes
    files: int
    missing_files: int
    has_keys: bool


def import_ledger(settings: Settings, path: Path, files: Path | None) -> Result:
    """Check an export, then write it into a store that is empty, or where the same import was interrupted."""
    imported = asyncio.run(_import(settings, path, files))
    lines = [f"The ledger has {imported.events:,} events, all as they were exported."]
    if files is not None:
        missing = f"; {imported.missing_files:,} are not in {files}" if imported.missing_files else ""
        lines.append(f"The bytes of {imported.files:,} files were copied{missing}.")
    if not imported.has_keys:
        then = "`chatledger rebuild`"
        if settings.key_store_url is not None:
            then = f"`chatledger keys copy --to database --remove-source` and {then}"
        lines.append(
            "Its keys are not here: what it sealed reads as erased, and no server opens it. Put the exported key store "
            f"into {settings.data_dir} as keys.db and its master key to {settings.master_key_path}, then run {then}."
        )
    return Result(imported, "\n".join(lines))


async def _import(settings: Settings, path: Path, files: Path | None) -> Imported:
    from chatledger.application.audit.importing import check_export  # noqa: PLC0415
    from chatledger.bootstrap import open_for_import  # noqa: PLC0415

    checked = await _reading(path, partial(check_export, progress=ProgressLine("check")))
    async with open_for_import(settings) as target:
        were_there = await asyncio.to_thread(target.importing.begin, checked.begun)
        carried = await _carry_files(target, checked.files, files)
        await _reading(path, partial(target.importing.run, checked=checked, progress=ProgressLine("import")))
        has_keys = await asyncio.to_thread(target.finish)
    return Imported(
        events=checked.begun.events,
        were_there=were_there,
        root=checked.root,
        files=carried.carried,
        missing_files=carried.missing,
        has_keys=has_keys,
    )


async def _reading(path: Path, read: "Callable[[BinaryIO], T]") -> T:
    def work() -> T:
        with path.open("rb") as file:
            return read(file)

    return await asyncio.to_thread(work)


async def _carry_files(target: "ForImport", files: "Sequence[FileBytes]", folder: Path | None) -> "CarriedFiles":
    from chatledger.adapters.files.folder import FolderBlobStore  # noqa: PLC0415
    from chatledger.application.audit.carrying_files import CarriedFiles, carry_files  # noqa: PLC0415

    if folder is None:
        return CarriedFiles(0, 0)
    source = FolderBlobStore(folder, read_only=True)
    return await carry_files(files, source, target.blobs, ProgressLine("files", "files"))
