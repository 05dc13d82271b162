"""Buckets of any object storage that speaks S3, by the ``obstore`` library, which works in threads of its own."""

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Store

CONNECT_TIMEOUT = timedelta(seconds=5)
REQUEST_TIMEOUT = timedelta(seconds=60)
RETRY_FOR = timedelta(seconds=20)
RETRIES = 3


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bucket is, and who may use it.

    Attributes:
        name: it has to exist.
        prefix: in front of each name; a folder, as the tools for buckets show it.
        endpoint: where the storage is, if it is not Amazon's. Its buckets are then named in the path.
        access_key_id: without it and its secret, what the environment says (``AWS_ACCESS_KEY_ID`` and so on).
    """

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Bucket({self.name!r}, {self.prefix!r})"


def open_bucket(bucket: Bucket) -> "S3Store":
    """The library's way into a bucket. Nobody has been asked yet whether it is there."""
    from obstore.store import S3Store  # noqa: PLC0415 - an extra, and slow to import

    config: S3Config = {"region": bucket.region, "disable_bulk_delete": True}
    client: ClientConfig = {"connect_timeout": CONNECT_TIMEOUT, "timeout": REQUEST_TIMEOUT}
    if bucket.endpoint is not None:
        config |= {"endpoint": bucket.endpoint, "virtual_hosted_style_request": False}
        client["allow_http"] = bucket.endpoint.startswith("http://")
    if bucket.access_key_id is not None and bucket.secret_access_key is not None:
        config |= {"access_key_id": bucket.access_key_id, "secret_access_key": bucket.secret_access_key}
    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        config=config,
        client_options=client,
        retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_FOR},
    )
