"""``chatledger export --person``: all of one person, readable, for whoever answers their request to see it."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from chatledger.adapters.cli.console import Result
from chatledger.settings import Settings


def export_person(settings: Settings, app_id: UUID, user: str, output: Path | None) -> Result | int:
    """Write the document; beside a server, too."""
    if output is None:
        asyncio.run(_export(settings, app_id, user, sys.stdout.buffer))
        sys.stdout.buffer.flush()
        return 0
    with _private_file(output) as file:
        end_user_id = asyncio.run(_export(settings, app_id, user, file))
    data = {"output": str(output), "end_user_id": end_user_id}
    return Result(data, f"{output} has all of end user {end_user_id}, unsealed: it is for them alone.")


async def _export(settings: Settings, app_id: UUID, user: str, file: BinaryIO) -> UUID:
    from chatledger.application.caller import Auditor, EndUsers  # noqa: PLC0415
    from chatledger.application.errors import NotFoundError  # noqa: PLC0415
    from chatledger.application.system_clock import new_id  # noqa: PLC0415
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        if await reading.views.app(app_id) is None:
            raise NotFoundError("app")
        end_user_id = await EndUsers(reading.views, reading.keyring).named_or_own(app_id, "service-api", user)
        host = Auditor(operator_id=None, correlation_id=new_id())
        async with aclosing(reading.access_requests.document(host, end_user_id)) as pieces:
            async for piece in pieces:
                file.write(piece)
    return end_user_id


@contextmanager
def _private_file(path: Path) -> Iterator[BinaryIO]:
    """A new file, which has its name once it is whole. What is left of one by a process that was killed goes first.

    Raises:
        FileExistsError: it is there already.
    """
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
