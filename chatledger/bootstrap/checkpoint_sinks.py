"""Where checkpoints are kept outside."""

from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from chatledger.adapters.checkpoint_sink.file import FileSink
from chatledger.adapters.checkpoint_sink.s3 import S3Sink
from chatledger.adapters.checkpoint_sink.webhook import WebhookSink
from chatledger.adapters.s3_buckets import Bucket
from chatledger.application.ports.clock import Clock
from chatledger.settings import Settings

EVERY_NETWORK = (ip_network("0.0.0.0/0"), ip_network("::/0"))
"""Who runs the server chose the address, so it may be one of their own network."""


def checkpoint_sink(settings: Settings, clock: Clock) -> FileSink | S3Sink | WebhookSink | None:
    """The sink that the settings name, if any."""
    url = settings.checkpoint_sink
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FileSink(Path(url.removeprefix("file://")))
    if parts.scheme == "s3":
        secret = settings.checkpoint_sink_secret_access_key
        return S3Sink(
            Bucket(
                name=parts.netloc,
                prefix=parts.path.strip("/"),
                endpoint=settings.checkpoint_sink_endpoint,
                region=settings.checkpoint_sink_region,
                access_key_id=settings.checkpoint_sink_access_key_id,
                secret_access_key=None if secret is None else secret.get_secret_value(),
            )
        )
    from chatledger.adapters.webhooks.sender import HttpWebhookSender  # noqa: PLC0415 - an extra

    return WebhookSink(url, HttpWebhookSender(clock, allowed=EVERY_NETWORK))
