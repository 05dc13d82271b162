"""Sending a signed body to an endpoint."""

import logging

from chatledger.application.cloud_events import MEDIA_TYPE
from chatledger.application.fault_report import describe
from chatledger.application.ports.webhooks import Endpoint, NotSentError, Reply, WebhookSender
from chatledger.application.webhooks.signing import signed_headers

log = logging.getLogger(__name__)

SECOND = 1_000_000


async def send_signed(sender: WebhookSender, endpoint: Endpoint, message_id: str, body: bytes, now: int) -> Reply:
    """POST a body, signed by the secrets that are in force.

    Args:
        sender: what sends.
        endpoint: to whom.
        message_id: what the receiver knows it by.
        body: a CloudEvent.
        now: in microseconds since the epoch.

    Raises:
        NotSentError: there is no reply, or none that could be read.
    """
    signed = signed_headers(endpoint.secrets_in_force(now), message_id, now // SECOND, body)
    try:
        return await sender.send(endpoint.url, {"content-type": MEDIA_TYPE, **signed}, body)
    except NotSentError:
        raise
    except Exception as error:  # whatever an endpoint says, it is this delivery that has failed, and nothing else
        log.error("webhook %s: a reply could not be read: %s", endpoint.endpoint_id, describe(error))  # noqa: TRY400 - its text may quote the reply
        raise NotSentError("broken") from error
