"""``chatledger apps``: setting up apps, looking at them, and their keys."""

import asyncio
import time
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import msgspec

from chatledger.adapters.cli.console import WRONG_USAGE, CommandFailedError, Result, listing, table
from chatledger.adapters.cli.control import NoServerError, ask_server
from chatledger.adapters.cli.orders import (
    Configured,
    ConfigureApp,
    CreateApp,
    Created,
    Order,
    Orders,
    Rotated,
    RotateKey,
    ServerInfo,
)
from chatledger.domain.app import AppConfiguration
from chatledger.domain.values import AppMode
from chatledger.settings import Settings

if TYPE_CHECKING:
    from chatledger.application.ports.views import AppView

T = TypeVar("T", bound=msgspec.Struct)

SECONDS_FOR_A_FREE_STORE = 5.0
SECONDS_BETWEEN_TRIES = 0.05


def create(settings: Settings, mode: AppMode, name: str, generator: str, given: dict[str, str]) -> Result:
    """Set up an app; the only showing of its key."""
    made = order(settings, CreateApp(mode=mode, name=name, generator=generator, settings=given), Created)
    values = {"app_id": made.app_id, "api_key": made.api_key, "mode": made.mode}
    return Result(made, f"{listing(values)}\n\nThe key is shown this once.")


def configure(settings: Settings, changes: ConfigureApp) -> Result:
    """Change an app's configuration."""
    done = order(settings, changes, Configured)
    return Result(done, f"{done.app_id} is configured:\n{_configuration_text(done.configuration)}")


def rotate_key(settings: Settings, app_id: UUID) -> Result:
    """Replace an app's keys."""
    done = order(settings, RotateKey(app_id), Rotated)
    values = {"app_id": done.app_id, "api_key": done.api_key}
    return Result(done, f"{listing(values)}\n\nThe key is shown this once; the earlier ones open nothing any more.")


def list_apps(settings: Settings) -> Result:
    """All apps, oldest first."""
    apps = asyncio.run(_read(settings, None))
    rows = [(app.app_id, app.mode, app.configuration.generator, _time(app.created_at), app.name) for app in apps]
    text = table(("app", "mode", "generator", "created", "name"), rows) if rows else "There are no apps."
    return Result([_summary(app) for app in apps], text)


def show_app(settings: Settings, app_id: UUID) -> Result:
    """One app with its configuration."""
    apps = asyncio.run(_read(settings, app_id))
    if not apps:
        raise CommandFailedError("there is no such app")
    configuration = msgspec.to_builtins(apps[0].configuration)
    summary = _summary(apps[0])
    return Result(summary | {"configuration": configuration}, f"{listing(summary)}\n{_configuration_text(configuration)}")


def read_fields(file: Path) -> dict[str, Any]:
    """The fields of a configuration that a TOML file gives.

    Raises:
        CommandFailedError: it cannot be read, or has a field that no configuration has.
    """
    try:
        fields = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CommandFailedError(f"{file}: {error}", WRONG_USAGE) from error
    for name in fields:
        if name not in AppConfiguration.__struct_fields__:
            raise CommandFailedError(f"{file}: {name}: no such field", WRONG_USAGE)
    return fields


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
        "generator": app.configuration.generator,
        "created_at": _time(app.created_at),
    }


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def _configuration_text(configuration: dict[str, Any]) -> str:
    return listing({name: msgspec.json.encode(value).decode() for name, value in configuration.items()})


# Carrying out


def order(
    settings: Settings,
    wanted: Order,
    outcome: type[T],
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    alone: Callable[[], T] | None = None,
) -> T:
    """Have an order carried out: by the running server, else in this process, on a store that is free.

    Args:
        settings: where the store is.
        wanted: the order.
        outcome: what comes of it.
        progress: told how far it has come.
        alone: how this process does it; by opening all of chatledger, without it.

    Raises:
        StoreBusyError: somebody has the store open and takes no orders.
        CommandFailedError: the order was refused.
    """
    from chatledger.application.ports.storage import StoreBusyError  # noqa: PLC0415

    deadline = time.monotonic() + SECONDS_FOR_A_FREE_STORE
    while True:
        try:
            return ask_server(settings.data_dir, wanted, outcome, progress)
        except NoServerError:
            pass
        try:
            return alone() if alone else asyncio.run(_carry_out(settings, wanted, outcome))
        except StoreBusyError:
            # A server on its way up or down, or another command at work.
            if time.monotonic() > deadline:
                raise
            time.sleep(SECONDS_BETWEEN_TRIES)


async def _carry_out(settings: Settings, wanted: Order, outcome: type[T]) -> T:
    import os  # noqa: PLC0415

    from chatledger import __version__  # noqa: PLC0415
    from chatledger.bootstrap import open_chatledger  # noqa: PLC0415

    async with open_chatledger(settings, with_worker=False) as running:
        orders = Orders(running, ServerInfo(os.getpid(), "", __version__))
        done = await orders.carry_out(wanted, lambda _done, _total: None)
        if not isinstance(done, outcome):
            raise TypeError(f"{type(done).__name__} came of {type(wanted).__name__}")
        return done
