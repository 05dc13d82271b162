"""Where the bytes of files are kept."""

from pathlib import Path
from urllib.parse import urlsplit

from chatledger.adapters.files.folder import FolderBlobStore
from chatledger.adapters.files.s3 import S3BlobStore
from chatledger.adapters.s3_buckets import Bucket
from chatledger.application.ports.files import BlobStore
from chatledger.settings import Settings

FILE = "file://"


def blob_store(settings: Settings) -> BlobStore:
    """The bytes of files, for a server: the one that there is, or a node beside others."""
    return object_storage(settings) or FolderBlobStore(_folder(settings), is_shared=settings.is_shared)


def blobs_to_read(settings: Settings) -> BlobStore:
    """The bytes of files, for whoever reads them beside a server."""
    return object_storage(settings) or FolderBlobStore(_folder(settings), read_only=True)


def _folder(settings: Settings) -> Path:
    return settings.data_dir / "files" if settings.files_url is None else Path(settings.files_url.removeprefix(FILE))


def object_storage(settings: Settings) -> S3BlobStore | None:
    """Where the bytes of files are, if in no folder."""
    if settings.files_url is None or settings.files_url.startswith(FILE):
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
