"""Orders about people and about who looks after them: erasing, holds, retention, operators' tokens."""

from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

import msgspec

from chatledger.domain.values import EndUserKind, Scope

if TYPE_CHECKING:
    from chatledger.application.application import Application
    from chatledger.application.context import Context
    from chatledger.application.ledger.rebuild import Progress

SECONDS_TO_ERASE = 300.0
"""What an erasure has before whoever ordered it is told that it goes on."""

SECONDS_BETWEEN_NEWS = 0.5


class EraseUser(msgspec.Struct, frozen=True, kw_only=True, tag="erase"):
    """Erase a person, and tell when it is done."""

    app_id: UUID
    user: str
    kind: EndUserKind = "service-api"


class PlaceHold(msgspec.Struct, frozen=True, kw_only=True, tag="hold place"):
    """Let nothing of a person's be erased."""

    app_id: UUID
    user: str
    reason: str
    kind: EndUserKind = "service-api"


class ReleaseHold(msgspec.Struct, frozen=True, tag="hold release"):
    """End a legal hold."""

    hold_id: UUID


class SetRetention(msgspec.Struct, frozen=True, tag="apps retention"):
    """Have an app keep conversations for so many days; None is for ever."""

    app_id: UUID
    days: int | None


class IssueToken(msgspec.Struct, frozen=True, tag="operators issue"):
    """Make an operator's token."""

    name: str
    scopes: tuple[Scope, ...]


class RevokeToken(msgspec.Struct, frozen=True, tag="operators revoke"):
    """Let an operator's token open nothing any more."""

    operator_id: UUID


PeopleOrder: TypeAlias = EraseUser | PlaceHold | ReleaseHold | SetRetention | IssueToken | RevokeToken


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """How far an erasure has come: all of it is done once there is a position.

    Attributes:
        receipt: a file that proves it to anybody; None where it is not done, or cannot be proved right now.
    """

    end_user_id: UUID
    app_id: UUID
    requested_position: int
    erased_position: int | None
    conversations: int
    files: int
    receipt: str | None = None


class Held(msgspec.Struct, frozen=True):
    """A new legal hold."""

    hold_id: UUID
    end_user_id: UUID


class Released(msgspec.Struct, frozen=True):
    """A hold that ended."""

    hold_id: UUID


class Retained(msgspec.Struct, frozen=True):
    """For how long an app keeps conversations."""

    app_id: UUID
    retention_days: int | None


class Issued(msgspec.Struct, frozen=True):
    """A new token, shown this once."""

    operator_id: UUID
    token: str


class Revoked(msgspec.Struct, frozen=True):
    """Whose token opens nothing any more."""

    operator_id: UUID


async def carry_out(
    application: "Application", order: PeopleOrder, context: "Context", progress: "Progress"
) -> msgspec.Struct:
    """Do it; what came of it.

    Raises:
        ApplicationError: the order was refused; nothing was changed.
        StorageUnavailableError: the store is in trouble; nothing was changed.
    """
    match order:
        case EraseUser():
            return await _erase(application, order, context, progress)
        case PlaceHold():
            person = await application.end_users.named_or_own(order.app_id, order.kind, order.user)
            hold = await application.holds.place(person, order.reason, context)
            return Held(hold.hold_id, person)
        case ReleaseHold():
            await application.holds.release(order.hold_id, context)
            return Released(order.hold_id)
        case SetRetention():
            await application.apps.set_retention(order.app_id, order.days, context)
            return Retained(order.app_id, order.days)
        case IssueToken():
            issued = await application.operators.issue(order.name, order.scopes, context)
            return Issued(issued.operator_id, issued.token)
        case RevokeToken():
            await application.operators.revoke(order.operator_id, context)
            return Revoked(order.operator_id)


async def _erase(application: "Application", order: EraseUser, context: "Context", progress: "Progress") -> Erased:
    from chatledger.application.caller import Auditor  # noqa: PLC0415
    from chatledger.application.errors import ApplicationError  # noqa: PLC0415
    from chatledger.application.ports.storage import StorageUnavailableError  # noqa: PLC0415

    erasing, clock = application.erasing, application.clock
    person = await application.end_users.named_or_own(order.app_id, order.kind, order.user)
    erasure = await erasing.request(person, context)
    theirs = await erasing.belongings(person)
    total, deadline = theirs.conversations + theirs.files + 1, clock.monotonic() + SECONDS_TO_ERASE
    while erasure.erased_position is None and clock.monotonic() < deadline:
        progress(total - 1 - await erasing.left(person), total)
        erasure = await erasing.until_done(person, SECONDS_BETWEEN_NEWS)
    receipt, auditor = None, Auditor(operator_id=None, correlation_id=context.correlation_id)
    if erasure.erased_position is not None:
        progress(total, total)
        with suppress(ApplicationError, StorageUnavailableError):
            receipt = bytes(await application.receipts.of_erasure(auditor, person))
    return Erased(
        end_user_id=person,
        app_id=order.app_id,
        requested_position=erasure.requested_position,
        erased_position=erasure.erased_position,
        conversations=theirs.conversations,
        files=theirs.files,
        receipt=None if receipt is None else receipt.decode(),
    )
