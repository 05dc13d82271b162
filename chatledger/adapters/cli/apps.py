"""``chatledger apps``: setting up apps, looking at them, and their keys."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from chatledger.adapters.cli.configuration import ImpossibleConfigurationError, as_toml
from chatledger.adapters.cli.console import CommandFailedError, Result, listing, moment, table
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.orders import (
    ConfigureApp,
    Configured,
    CreateApp,
    Created,
    Renewed,
    RenewSite,
    Rotated,
    RotateKey,
    SwitchApp,
    Switched,
)
from chatledger.adapters.cli.people_orders import Retained, SetRetention
from chatledger.domain.values import AppStatus
from chatledger.settings import Settings

if TYPE_CHECKING:
    from chatledger.application.ports.views import AppView


def create(settings: Settings, wanted: CreateApp) -> Result:
    """Set up an app; the only showing of its key."""
    made = deliver(settings, wanted, Created)
    values = {"app_id": made.app_id, "api_key": made.api_key, "mode": made.mode, "site_code": made.site_code}
    return Result(made, f"{listing(values)}\n\nThe key is shown this once.")


def configure(settings: Settings, changes: ConfigureApp) -> Result:
    """Change an app's configuration."""
    done = deliver(settings, changes, Configured)
    return Result(done, f"{done.app_id} is configured:\n{_configuration_text(done.configuration)}")


def rotate_key(settings: Settings, app_id: UUID) -> Result:
    """Replace an app's keys."""
    done = deliver(settings, RotateKey(app_id), Rotated)
    values = {"app_id": done.app_id, "api_key": done.api_key}
    return Result(done, f"{listing(values)}\n\nThe key is shown this once; the earlier ones open nothing any more.")


def renew_site(settings: Settings, app_id: UUID) -> Result:
    """Replace the code of an app's site."""
    done = deliver(settings, RenewSite(app_id), Renewed)
    values = {"app_id": done.app_id, "site_code": done.site_code}
    return Result(done, f"{listing(values)}\n\nUnder the earlier codes nobody gets in any more.")


def switch(settings: Settings, app_id: UUID, status: AppStatus) -> Result:
    """Let an app answer, or not."""
    done = deliver(settings, SwitchApp(app_id, status), Switched)
    then = {"normal": "answers", "disabled": "answers nobody", "deleted": "is gone; what was said in it is kept"}
    return Result(done, f"{done.app_id} {then[done.status]}.")


def set_retention(settings: Settings, app_id: UUID, days: int | None) -> Result:
    """Set for how long an app keeps conversations that rest."""
    done = deliver(settings, SetRetention(app_id, days), Retained)
    then = "keeps conversations for ever"
    if done.retention_days is not None:
        then = f"erases conversations that have rested for {done.retention_days} days, unless their person is held"
    return Result(done, f"{done.app_id} {then}.")


def list_apps(settings: Settings) -> Result:
    """All apps, oldest first."""
    apps = asyncio.run(_read(settings, None))
    rows = [
        (app.app_id, app.mode, app.status, app.configuration.generator, moment(app.created_at), app.name)
        for app in apps
    ]
    text = table(("app", "mode", "status", "generator", "created", "name"), rows) if rows else "There are no apps."
    return Result([_summary(app) for app in apps], text)


def show_app(settings: Settings, app_id: UUID) -> Result:
    """One app with its configuration."""
    apps = asyncio.run(_read(settings, app_id))
    if not apps:
        raise CommandFailedError("there is no such app")
    configuration = msgspec.to_builtins(apps[0].configuration)
    summary = _summary(apps[0])
    text = f"{listing(summary)}\n\n{_configuration_text(configuration)}"
    return Result(summary | {"configuration": configuration}, text)


def show_as_toml(settings: Settings, app_id: UUID) -> Result:
    """One app's configuration as a file that ``apps configure`` reads."""
    apps = asyncio.run(_read(settings, app_id))
    if not apps:
        raise CommandFailedError("there is no such app")
    try:
        text = as_toml(apps[0].configuration)
    except ImpossibleConfigurationError as error:
        raise CommandFailedError(str(error)) from error
    return Result(text, text.removesuffix("\n"))


async def _read(settings: Settings, app_id: UUID | None) -> "Sequence[AppView]":
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        if app_id is None:
            return await reading.views.apps()
        found = await reading.views.app(app_id)
        return [] if found is None else [found]


def _summary(app: "AppView") -> dict[str, str]:
    return {
        "app_id": str(app.app_id),
        "mode": app.mode,
        "name": app.name,
        "status": app.status,
        "site_code": app.site_code or "",
        "generator": app.configuration.generator,
        "retention_days": "" if app.retention_days is None else str(app.retention_days),
        "created_at": moment(app.created_at),
    }


def _configuration_text(configuration: dict[str, Any]) -> str:
    return listing({name: msgspec.json.encode(value).decode() for name, value in configuration.items()})
