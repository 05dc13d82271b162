"""A URL that each checkpoint is posted to."""

from chatledger.application.ports.notary import SignedCheckpoint, SinkUnavailableError
from chatledger.application.ports.webhooks import NotSentError, WebhookSender

HEADERS = {"content-type": "text/plain; charset=utf-8"}


class WebhookSink:
    """POSTs the note, byte for byte. Any reply of 200 to 299 means that it is kept."""

    def __init__(self, url: str, sender: WebhookSender) -> None:
        self._url = url
        self._sender = sender

    async def put(self, checkpoint: SignedCheckpoint) -> None:
        """Post it.

        Raises:
            SinkUnavailableError: there is no reply, or it says that it was not taken.
        """
        try:
            reply = await self._sender.send(self._url, HEADERS, checkpoint.note)
        except NotSentError as error:
            raise SinkUnavailableError(f"the URL does not answer: {error.reason}") from error
        if not reply.is_success:
            raise SinkUnavailableError(f"the URL answers with status {reply.status}")

    async def close(self) -> None:
        """Give every connection back."""
        await self._sender.close()
