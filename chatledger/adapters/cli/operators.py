"""``chatledger operators``: the tokens of those who look after the ledger over HTTP."""

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

from chatledger.adapters.cli.console import Result, listing, moment, table
from chatledger.adapters.cli.delivery import deliver
from chatledger.adapters.cli.people_orders import Issued, IssueToken, Revoked, RevokeToken
from chatledger.settings import Settings

if TYPE_CHECKING:
    from chatledger.application.ports.views import OperatorDetail


def issue(settings: Settings, wanted: IssueToken) -> Result:
    """Make a token; the only showing of it."""
    issued = deliver(settings, wanted, Issued)
    text = listing({"operator_id": issued.operator_id, "token": issued.token})
    return Result(issued, f"{text}\n\nThe token is shown this once.")


def revoke(settings: Settings, operator_id: UUID) -> Result:
    """Let a token open nothing any more."""
    revoked = deliver(settings, RevokeToken(operator_id), Revoked)
    return Result(revoked, f"The token of {revoked.operator_id} opens nothing any more.")


def list_operators(settings: Settings) -> Result:
    """All whose tokens open something, oldest first."""
    operators = asyncio.run(_read(settings))
    if not operators:
        return Result([], "There are no operators.")
    data = [
        {
            "operator_id": each.operator_id,
            "name": each.name,
            "scopes": sorted(each.scopes),
            "issued_at": moment(each.issued_at),
        }
        for each in operators
    ]
    rows = [(each["operator_id"], ", ".join(each["scopes"]), each["issued_at"], each["name"]) for each in data]
    return Result(data, table(("operator", "scopes", "issued", "name"), rows))


async def _read(settings: Settings) -> "list[OperatorDetail]":
    from chatledger.bootstrap import open_for_reading  # noqa: PLC0415

    async with open_for_reading(settings) as reading:
        return await reading.views.operators()
