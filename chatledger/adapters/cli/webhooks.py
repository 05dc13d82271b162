"""``chatledger webhooks``: endpoints that are told what happens."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from chatledger.adapters.cli.console import (
    REFUSED,
    SUCCESS,
    WRONG_USAGE,
    CommandFailedError,
    Result,
    listing,
    moment,
    table,
)
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.webhook_orders import (
    AddEndpoint,
    ChangeEndpoint,
    EndpointAdded,
    EndpointChanged,
    EndpointReplayed,
    EndpointTried,
    ReplayEndpoint,
    RotateSecret,
    TryEndpoint,
)
from chatledger.settings import Settings

if TYPE_CHECKING:
    from chatledger.application.ports.webhooks import Endpoint, Standing, Undelivered

ALL_APPS = "all"


def list_endpoints(settings: Settings) -> Result:
    """All of them, and how far each was told."""
    found = asyncio.run(_read_all(settings))
    if not found:
        return Result([], "There are no endpoints.")
    data = [_fields(endpoint, standing) for endpoint, standing in found]
    headings = ("endpoint", "app", "url", "state", "position", "waiting", "dead")
    rows = [
        (
            each["endpoint_id"],
            each["app_id"] or ALL_APPS,
            each["url"],
            each["disabled_for"] or ("failing" if each["failing_since"] else "enabled"),
            each["position"],
            each["waiting"],
            each["dead"],
        )
        for each in data
    ]
    return Result(data, table(headings, rows))


def add(settings: Settings, wanted: AddEndpoint) -> Result:
    """Register an endpoint and show its secret, this once."""
    added = deliver(settings, wanted, EndpointAdded)
    return Result(added, listing({"endpoint_id": added.endpoint_id, "secret": added.secret}))


def change(settings: Settings, wanted: ChangeEndpoint) -> Result:
    """Remove, disable or enable an endpoint."""
    done = deliver(settings, wanted, EndpointChanged)
    return Result(done, f"{done.endpoint_id} is {done.is_now}.")


def rotate_secret(settings: Settings, wanted: RotateSecret) -> Result:
    """Sign with another secret, and show it, this once."""
    done = deliver(settings, wanted, EndpointAdded)
    return Result(done, listing({"endpoint_id": done.endpoint_id, "secret": done.secret}))


def test(settings: Settings, endpoint_id: UUID) -> Result:
    """Send an endpoint an event that is none of the ledger; refused where it is not taken."""
    tried = deliver(settings, TryEndpoint(endpoint_id), EndpointTried)
    text = f"It was taken: {tried.outcome}." if tried.is_success else f"It was not taken: {tried.outcome}."
    return Result(tried, text, SUCCESS if tried.is_success else REFUSED)


def replay(settings: Settings, wanted: ReplayEndpoint) -> Result:
    """Tell an endpoint again what it was told, or what it has not taken."""
    done = deliver(settings, wanted, EndpointReplayed)
    if done.dead_letters is None:
        return Result(done, "It is told again, by the server that runs or by the next one.")
    return Result(done, f"{done.dead_letters} dead letters are tried again.")


def dead_letters(settings: Settings, endpoint_id: UUID, limit: int) -> Result:
    """What an endpoint has not taken, in the order of the ledger."""
    letters = asyncio.run(_read_letters(settings, endpoint_id, limit))
    if not letters:
        return Result([], "There are no dead letters.")
    data: list[dict[str, Any]] = [
        {
            "position": letter.position,
            "attempts": letter.attempts,
            "error": letter.error,
            "failed_at": None if letter.failed_at is None else moment(letter.failed_at),
        }
        for letter in letters
    ]
    return Result(data, table(("position", "attempts", "error", "failed"), [tuple(each.values()) for each in data]))


def secret_in(file: Path | None) -> str | None:
    """The secret that a file holds: one in an argument would be for everybody who lists processes.

    Raises:
        CommandFailedError: it cannot be read.
    """
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CommandFailedError(f"{file}: {reason}", WRONG_USAGE) from None


async def _read_all(settings: Settings) -> "Sequence[tuple[Endpoint, Standing | None]]":
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        endpoints = await reading.endpoints.endpoints()
        return [(one, await reading.standings.standing(one.endpoint_id)) for one in endpoints]


async def _read_letters(settings: Settings, endpoint_id: UUID, limit: int) -> "Sequence[Undelivered]":
    from chatledger.application.errors import NotFoundError  # noqa: PLC0415
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        if await reading.endpoints.endpoint(endpoint_id) is None:
            raise NotFoundError("webhook")
        return await reading.standings.dead_letters(endpoint_id, 0, limit)


def _fields(endpoint: "Endpoint", standing: "Standing | None") -> dict[str, Any]:
    progress = None if standing is None else standing.progress
    failing_since = None if progress is None else progress.failing_since
    return {
        "endpoint_id": endpoint.endpoint_id,
        "app_id": endpoint.app_id,
        "url": endpoint.url,
        "types": sorted(endpoint.types),
        "disabled_for": endpoint.disabled_for,
        "position": endpoint.after if progress is None else progress.position,
        "waiting": 0 if standing is None else standing.waiting,
        "dead": 0 if standing is None else standing.dead,
        "failing_since": None if failing_since is None else moment(failing_since),
    }
