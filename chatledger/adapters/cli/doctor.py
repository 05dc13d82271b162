"""``chatledger doctor``: is this installation sound? It looks, and changes nothing."""

import asyncio
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import msgspec

from chatledger.adapters.cli.console import REFUSED, SUCCESS, CommandFailedError, Result, moment, table
from chatledger.adapters.cli.control import NoServerError, ping
from chatledger.adapters.cli.failures import foreseen
from chatledger.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from chatledger.application.ports.generator import Generator
    from chatledger.application.ports.views import AppView
    from chatledger.bootstrap import Reading

Verdict = Literal["ok", "warning", "failed"]

OPEN_TO_OTHERS = 0o077
PRIVATE_FILES = ("master.key", "keys.db", "first-credentials.toml", "control.sock")


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    check: str
    verdict: Verdict
    detail: str


def doctor(settings: Settings) -> Result:
    """Check everything that can be checked beside a running server."""
    findings = [
        Finding("settings", "ok", "the environment and the file are understood"),
        *_check_folder(settings.data_dir),
        *_check_master_key(settings.master_key_file),
        _check_server(settings),
        *_check_key_store(settings),
        *asyncio.run(_check_files(settings)),
        *asyncio.run(_check_store(settings)),
    ]
    is_sound = all(finding.verdict != "failed" for finding in findings)
    text = table(("check", "verdict", "detail"), [(found.check, found.verdict, found.detail) for found in findings])
    return Result({"ok": is_sound, "checks": findings}, text, SUCCESS if is_sound else REFUSED)


# Around the store


def _check_folder(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        yield Finding("data folder", "failed", f"there is no folder {folder.absolute()}")
        return
    if (mode := _mode(folder)) & OPEN_TO_OTHERS:
        open_to_others = f"{folder.absolute()} is open to others (mode {mode:04o}); run chmod 700"
        yield Finding("data folder", "warning", open_to_others)
    else:
        yield Finding("data folder", "ok", f"{folder.absolute()}, mode {mode:04o}")
    open_files = [f"{file.name} (mode {mode:04o})" for file, mode in _private_files(folder) if mode & OPEN_TO_OTHERS]
    if open_files:
        yield Finding("private files", "failed", f"open to others: {', '.join(open_files)}; run chmod 600")
    else:
        yield Finding("private files", "ok", "nobody else can read keys and credentials")


def _private_files(folder: Path) -> Iterator[tuple[Path, int]]:
    for name in PRIVATE_FILES:
        if (file := folder / name).exists():
            yield file, _mode(file)


def _check_master_key(file: Path | None) -> Iterator[Finding]:
    """Elsewhere than in the data folder. A secret that was mounted may have a mode that nobody can change."""
    if file is None:
        return
    if not file.exists():
        yield Finding("master key", "failed", f"there is no {file.absolute()}")
    elif (mode := _mode(file)) & OPEN_TO_OTHERS:
        yield Finding("master key", "warning", f"{file.absolute()} is open to others (mode {mode:04o})")
    else:
        yield Finding("master key", "ok", f"{file.absolute()}, mode {mode:04o}")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _check_server(settings: Settings) -> Finding:
    try:
        server = ping(settings.data_dir)
    except CommandFailedError as error:
        return Finding("server", "failed", str(error))
    except NoServerError:
        return _check_lock(settings)
    place = f"at {server.url}" if server.url else "as a worker"
    return Finding("server", "ok", f"chatledger {server.version} {place}, process {server.pid}")


def _check_lock(settings: Settings) -> Finding:
    from chatledger.adapters.persistence.database import database_at  # noqa: PLC0415
    from chatledger.application.ports.storage import (  # noqa: PLC0415
        SchemaError,
        StorageUnavailableError,
        StoreBusyError,
    )

    database = database_at(settings.ledger_url, settings.durability)
    if not database.exists():
        return Finding("server", "ok", "none is running")
    try:
        database.require_free(as_node=settings.is_shared)
    except (SchemaError, StorageUnavailableError) as error:
        return Finding("server", "failed", str(error))
    except StoreBusyError as error:
        return Finding("server", "warning", f"{error}, which takes no orders: it starts, stops, or is another command")
    return Finding("server", "ok", "none is running")


def _check_key_store(settings: Settings) -> Iterator[Finding]:
    """In a database; a file is looked at with the data folder. Whether its keys open, the store's check tells."""
    url = settings.key_store_url
    if url is None:
        return
    from chatledger.adapters.postgres_connections import PostgresAddress, require_durable  # noqa: PLC0415
    from chatledger.application.ports.storage import SchemaError, StorageUnavailableError  # noqa: PLC0415

    address = PostgresAddress(url)
    try:
        with address.connect() as connection:
            require_durable(connection, settings.durability)
    except (SchemaError, StorageUnavailableError) as error:
        yield Finding("key store", "failed", f"{address.place}: {error}")
        return
    yield Finding("key store", "ok", address.place)
    if (left := settings.data_dir / "keys.db").exists():
        told = f"{left.absolute()} is not used, and keeps keys of whoever is erased; see `chatledger keys copy`"
        yield Finding("keys elsewhere", "warning", told)


async def _check_files(settings: Settings) -> list[Finding]:
    """Files in the data folder are looked at with it."""
    from chatledger.application.ports.storage import StorageUnavailableError  # noqa: PLC0415
    from chatledger.bootstrap import object_storage  # noqa: PLC0415

    storage = object_storage(settings)
    if storage is None:
        return []
    try:
        await storage.check()
    except StorageUnavailableError as error:
        return [Finding("files", "failed", f"{settings.files_url}: {error}")]
    return [Finding("files", "ok", f"{settings.files_url} is there")]


# The store


async def _check_store(settings: Settings) -> list[Finding]:
    from chatledger.adapters.persistence.database import database_at  # noqa: PLC0415
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    try:
        async with open_for_reading(settings, may_lag=True) as reading:
            findings = [Finding("store", "ok", database_at(settings.ledger_url).place)]
            findings += await reading.reader.query(lambda connection: _look_into(connection, reading))
            findings.append(await _check_checkpoints(settings, reading))
            findings.append(await _check_apps(settings, reading))
            return findings
    except Exception as error:
        failure = foreseen(error)
        if failure is None:
            raise
        return [Finding("store", "failed", str(failure))]


def _look_into(connection: "sa.Connection", reading: "Reading") -> list[Finding]:
    """All of it in one snapshot."""
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("schema", lambda: _revision(connection)),
        ("database", lambda: _soundness(connection)),
        ("ledger", lambda: _contiguity(connection)),
        ("streams", lambda: _streams(connection)),
        ("read models", lambda: _read_models_version(connection)),
        ("data keys", lambda: _data_keys(connection, reading)),
    )
    return [_finding(name, check, connection) for name, check in checks]


def _finding(name: str, check: Callable[[], str], connection: "sa.Connection") -> Finding:
    try:
        with connection.begin_nested():  # else PostgreSQL answers nothing after the first statement that fails
            return Finding(name, "ok", check())
    except Exception as error:
        failure = foreseen(error)
        if failure is None:
            raise
        return Finding(name, "failed", str(failure))


def _revision(connection: "sa.Connection") -> str:
    revision = connection.exec_driver_sql("SELECT version_num FROM chatledger_version").scalar_one()
    return f"revision {revision}"


def _soundness(connection: "sa.Connection") -> str:
    if connection.dialect.name != "sqlite":
        settings = ("server_version", "synchronous_commit", "fsync")
        found = {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in settings}
        return "PostgreSQL {server_version}, synchronous_commit {synchronous_commit}, fsync {fsync}".format(**found)
    faults = [row[0] for row in connection.exec_driver_sql("PRAGMA quick_check(5)")]
    if faults != ["ok"]:
        raise CommandFailedError(f"SQLite finds it damaged: {'; '.join(faults)}")
    return "SQLite finds it sound"


def _contiguity(connection: "sa.Connection") -> str:
    """Positions are 1, 2, 3, ... up to the head: whatever is missing was taken away."""
    (head,) = connection.exec_driver_sql("SELECT position FROM head").one()
    count, last = connection.exec_driver_sql("SELECT count(*), coalesce(max(position), 0) FROM events").one()
    if last != head:
        raise CommandFailedError(f"the head says {head:,} events, the last one is {last:,}")
    if count != last:
        found = connection.exec_driver_sql(
            "SELECT expected FROM (SELECT position, row_number() OVER (ORDER BY position) AS expected FROM events) e "
            "WHERE position <> expected LIMIT 1"
        )
        first = found.scalar_one()
        raise CommandFailedError(f"{last - count:,} of {last:,} events are missing, the first at position {first:,}")
    return f"{count:,} events without a hole"


def _streams(connection: "sa.Connection") -> str:
    torn = connection.exec_driver_sql(
        "SELECT count(*), min(stream) FROM "
        "(SELECT stream FROM events GROUP BY stream HAVING count(*) <> max(version) OR min(version) <> 1) AS torn"
    )
    count, first = torn.one()
    if count:
        from chatledger.adapters.persistence.tables import STREAMS  # noqa: PLC0415

        query = STREAMS.select().with_only_columns(STREAMS.c.stream_id).where(STREAMS.c.number == first)
        name = connection.execute(query).scalar() or f"number {first}"
        raise CommandFailedError(f"{count:,} streams have a hole, the first is {name}")
    total = connection.exec_driver_sql("SELECT count(*) FROM streams").scalar_one()
    return f"{total:,} streams without a hole"


def _read_models_version(connection: "sa.Connection") -> str:
    from chatledger.adapters.persistence.transaction import SqlTransaction  # noqa: PLC0415
    from chatledger.application.ledger.projections import READ_MODELS_VERSION  # noqa: PLC0415

    ledger = SqlTransaction(connection)
    moved_to, head = ledger.moved_to(), ledger.position()
    if moved_to is None:
        (version,) = connection.exec_driver_sql("SELECT read_models FROM head").one()
        raise CommandFailedError(f"version {version}, this release has {READ_MODELS_VERSION}: run `chatledger rebuild`")
    behind = "" if moved_to == head else f", {head - moved_to:,} events behind those of another release"
    return f"version {READ_MODELS_VERSION}{behind}"


def _data_keys(connection: "sa.Connection", reading: "Reading") -> str:
    """Every key that seals a stream opens, from the master key down, but for those that were destroyed to erase it."""
    from chatledger.adapters.persistence.tables import ERASED_KEYS, STREAMS  # noqa: PLC0415

    key_id, erased = STREAMS.c.key_id, ERASED_KEYS.select().with_only_columns(ERASED_KEYS.c.key_id)
    of_streams = STREAMS.select().with_only_columns(key_id).where(key_id.is_not(None), key_id.not_in(erased)).distinct()
    opened = 0
    missing: list[UUID] = []
    for (key_id,) in connection.execute(of_streams):
        try:
            reading.keyring.key(key_id)
        except LookupError:
            missing.append(key_id)
        else:
            opened += 1
    if missing:
        raise CommandFailedError(f"{len(missing):,} of {opened + len(missing):,} are gone, the first is {missing[0]}")
    found = f"the master key opens the key store; all {opened:,} keys are there"
    if reading.keyring.withheld:
        revived = len(reading.keyring.withheld)
        found += f", and {revived:,} that were erased: is it an older copy? The next start destroys them"
    return found


async def _check_checkpoints(settings: Settings, reading: "Reading") -> Finding:
    """The last one against the ledger, by what the notary itself does before it signs; `verify` looks at all of it."""
    from chatledger.adapters.persistence.notary import SqlNotaryStore  # noqa: PLC0415
    from chatledger.application.errors import LedgerInconsistentError  # noqa: PLC0415
    from chatledger.application.system_clock import SystemClock  # noqa: PLC0415
    from chatledger.bootstrap import extending_of  # noqa: PLC0415

    store = SqlNotaryStore(reading.reader)
    extending = await extending_of(settings, store, reading.keyring, SystemClock())
    try:
        last = await extending.last()
        await extending.extension(last)
    except LedgerInconsistentError as error:
        return Finding("checkpoints", "failed", str(error))
    if last is None:
        return Finding("checkpoints", "ok", "nothing is signed yet")
    backlog = await store.backlog()
    if settings.checkpoint_sink is not None and backlog.since is not None:
        waiting = f"the sink has not taken {backlog.count:,}, the oldest of {moment(backlog.since)}"
        return Finding("checkpoints", "warning", waiting)
    return Finding("checkpoints", "ok", f"the last one fits: {last.checkpoint.size:,} events are signed")


async def _check_apps(settings: Settings, reading: "Reading") -> Finding:
    from chatledger.bootstrap import make_generators  # noqa: PLC0415

    try:
        apps = await reading.views.apps()
    except Exception as error:
        failure = foreseen(error)
        if failure is None:
            raise
        return Finding("apps", "failed", str(failure))
    generators = make_generators(settings)
    try:
        faults = [fault for app in apps if (fault := _fault(app, generators))]
    finally:
        for generator in generators.values():
            await generator.close()
    if faults:
        return Finding("apps", "failed", "; ".join(faults))
    return Finding("apps", "ok", f"{len(apps):,} apps, each with a generator that knows its settings")


def _fault(app: "AppView", generators: "Mapping[str, Generator]") -> str | None:
    from chatledger.application.ports.generator import SettingsError  # noqa: PLC0415

    name = app.configuration.generator
    if name not in generators:
        return f"{app.app_id} wants the generator {name}, which is not there"
    try:
        generators[name].check_settings(app.configuration.settings)
    except SettingsError as error:
        return f"{app.app_id}: {error}"
    return None
