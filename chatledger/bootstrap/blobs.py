"""Where the bytes of files are kept."""

from urllib.parse import urlsplit

from chatledger.adapters.files.folder import FolderBlobStore
from chatledger.adapters.files.s3 import S3BlobStore
from chatledger.adapters.s3_buckets import Bucket
from chatledger.application.ports.files import BlobStore
from chatledger.settings import Settings


def blob_store(settings: Settings) -> BlobStore:
    """The bytes of files, for the one process that writes them."""
    return object_storage(settings) or FolderBlobStore(settings.data_dir / "files")


def blobs_to_read(settings: Settings) -> BlobStore:
    """The bytes of files, for whoever reads them beside a server."""
    return object_storage(settings) or FolderBlobStore(settings.data_dir / "files", read_only=True)


def object_storage(settings: Settings) -> S3BlobStore | None:
    """Where the bytes of files are, if not in the data folder."""
    if settings.files_url is None:
        return None
    parts, secret = urlsplit(settings.files_url), settings.files_secret_access_key
    return S3BlobStore(
        Bucket(
            name=parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=settings.files_endpoint,
            region=settings.files_region,
            access_key_id=settings.files_access_key_id,
            secret_access_key=None if secret is None else secret.get_secret_value(),
        )
    )
