"""The notary: for operators to ask it for a checkpoint, to see how it does, and to have it sign with another key."""

from collections.abc import Sequence

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, rfc3339
from chatledger.adapters.http.auth import require_operator
from chatledger.adapters.http.openapi import Operation, documented
from chatledger.adapters.http.surface import Surface
from chatledger.application.audit.delivering import SinkStatus
from chatledger.application.audit.standing import NotaryStanding
from chatledger.application.ports.notary import SignedCheckpoint


class CheckpointObject(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint. Times are RFC 3339 in UTC; ``note`` is the signed note, byte for byte."""

    number: int
    origin: str
    size: int
    signed_at: str
    note: str


class SinkObject(msgspec.Struct, frozen=True, kw_only=True):
    """How far the sink is behind: how many checkpoints it has not taken, since when, and why."""

    waiting: int
    since: str | None
    trouble: str | None


class NotaryObject(msgspec.Struct, frozen=True, kw_only=True):
    """How the notary does. The last of its keys signs; ``refusal`` says why it signs nothing at the moment."""

    origin: str
    verifier_keys: Sequence[str]
    checkpoint: CheckpointObject | None
    unsigned: int
    refusal: str | None
    sink: SinkObject | None


_SHOW = Operation(
    tag="Notary",
    summary="See how the notary does",
    description="For operators with the scope `audit`.",
    credential="operator",
    answers={200: NotaryObject},
)
_CHECKPOINT = Operation(
    tag="Notary",
    summary="Have the ledger signed as it is now",
    description=(
        "What is signed already is not signed again. Where the ledger does not extend what was signed before, nothing "
        "is signed: `ledger_inconsistent`."
    ),
    credential="operator",
    answers={200: CheckpointObject},
    errors=(409,),
)
_ROTATE = Operation(
    tag="Notary",
    summary="Have another key sign",
    description="Both keys sign the checkpoint that covers the event by which the new one is introduced.",
    credential="operator",
    answers={200: NotaryObject},
    errors=(409,),
)


def notary_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application

    @get("/v1/admin/notary", opt=documented(_SHOW))
    async def show_notary(request: HttpRequest) -> ASGIResponse:
        await require_operator(request, application.credentials, "audit")
        return answer(request, _notary_object(await application.standing.look()))

    @post("/v1/admin/notary/checkpoint", status_code=200, opt=documented(_CHECKPOINT))
    async def sign_checkpoint(request: HttpRequest) -> ASGIResponse:
        context = await require_operator(request, application.credentials)
        return answer(request, _checkpoint_object(await application.notarizing.checkpoint(context)))

    @post("/v1/admin/notary/rotate-key", status_code=200, opt=documented(_ROTATE))
    async def rotate_key(request: HttpRequest) -> ASGIResponse:
        context = await require_operator(request, application.credentials)
        await application.notarizing.rotate_key(context)
        return answer(request, _notary_object(await application.standing.look()))

    return show_notary, sign_checkpoint, rotate_key


def _notary_object(standing: NotaryStanding) -> NotaryObject:
    checkpoint, sink = standing.checkpoint, standing.sink
    return NotaryObject(
        origin=standing.origin,
        verifier_keys=standing.verifier_keys,
        checkpoint=None if checkpoint is None else _checkpoint_object(checkpoint),
        unsigned=standing.unsigned,
        refusal=standing.refusal,
        sink=None if sink is None else _sink_object(sink),
    )


def _checkpoint_object(signed: SignedCheckpoint) -> CheckpointObject:
    return CheckpointObject(
        number=signed.number,
        origin=signed.origin,
        size=signed.size,
        signed_at=rfc3339(signed.signed_at),
        note=signed.note.decode(),
    )


def _sink_object(sink: SinkStatus) -> SinkObject:
    since = None if sink.since is None else rfc3339(sink.since)
    return SinkObject(waiting=sink.waiting, since=since, trouble=sink.trouble)
