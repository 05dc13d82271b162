"""What a server makes when its data folder is empty: two apps, an operator token, and a file that tells them."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid5

import sqlalchemy as sa

from chatledger.adapters.cli.orders import first_configuration
from chatledger.adapters.persistence.tables import OPERATOR_TOKENS
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.hand_ins import VersionConflictError
from chatledger.bootstrap import Running
from chatledger.domain.values import AppMode, Scope

log = logging.getLogger(__name__)

CREDENTIALS_FILE = "first-credentials.toml"

APPS: Mapping[AppMode, str] = {"chat": "Chat", "completion": "Completion"}
OPERATOR_NAME = "first operator"
OPERATOR_SCOPES: tuple[Scope, ...] = ("operate", "audit")

_HEADING = """\
# Made when this data folder was empty. The ledger knows hashes only: what is lost with this file is lost.
# Whoever reads it can use the apps, and operate and audit the server. Put it away, then remove it.
"""


async def make_first_credentials(running: Running, folder: Path) -> str | None:
    """Make the first operator token, and the first apps unless there are some; what the file says, or None.

    The file stands empty until all of it is made: a server that finds it so begins again. Of nodes that start together
    one makes them.
    """
    file = folder / CREDENTIALS_FILE
    is_unfinished, has_operator = file.exists() and not file.stat().st_size, await _has_operator(running)
    if has_operator and not is_unfinished:
        return None
    _write_private(file, "")
    application = running.application
    context = Context(actor=SYSTEM, correlation_id=application.new_id())
    first_id = None if has_operator else uuid5(await running.store.incarnation(), OPERATOR_NAME)
    try:
        issued = await application.operators.issue(OPERATOR_NAME, OPERATOR_SCOPES, context, operator_id=first_id)
    except VersionConflictError:
        file.unlink()
        return None
    sections = [_section("operator", {"token": issued.token, "scopes": OPERATOR_SCOPES})]
    if not await application.views.apps():
        for mode, name in APPS.items():
            configuration = first_configuration(mode, {}, {}, query_required=True)
            app = await application.apps.create(mode, name, configuration, context)
            values = {"app_id": str(app.app_id), "api_key": app.api_key, "site_code": app.site_code}
            sections.append(_section(mode, values))
    text = "\n".join([_HEADING, *sections])
    _write_private(file, text)
    log.info("the first credentials are in %s", file.absolute())
    return text


async def _has_operator(running: Running) -> bool:
    query = sa.select(OPERATOR_TOKENS.c.operator_id).limit(1)
    return await running.reader.query(lambda connection: connection.execute(query).first()) is not None


def _section(name: str, values: Mapping[str, object]) -> str:
    # JSON's strings and lists of strings are TOML's.
    return "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""])


def _write_private(file: Path, text: str) -> None:
    """Whole or not at all, and nobody else's to read from the first byte on."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)
