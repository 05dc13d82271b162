"""Where files are kept, and how large they may be."""

from urllib.parse import urlsplit

from chatledger.adapters.files.folder import FolderBlobStore
from chatledger.adapters.files.s3 import S3BlobStore
from chatledger.application.caller import Ownership
from chatledger.application.files.limits import FileLimits
from chatledger.application.files.links import FileLinks
from chatledger.application.files.storing import StoringFiles
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.files import BlobStore
from chatledger.application.ports.views import Views
from chatledger.application.queries.directory import AppDirectory
from chatledger.application.queries.stored_files import StoredFiles
from chatledger.application.system_clock import new_id
from chatledger.settings import Settings


def open_files(
    settings: Settings, ledger: Ledger, views: Views, directory: AppDirectory, clock: Clock, ownership: Ownership
) -> tuple[StoringFiles, StoredFiles]:
    """Files on their way in, and out again."""
    blobs = _blob_store(settings)
    links = FileLinks(ledger.keyring, clock, settings.file_link_lifetime)
    storing = StoringFiles(ledger, blobs, _file_limits(settings), new_id)
    return storing, StoredFiles(views, directory, ledger.keyring, blobs, links, ownership)


def _blob_store(settings: Settings) -> BlobStore:
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
        parts.netloc,
        parts.path.strip("/"),
        endpoint=settings.files_endpoint,
        region=settings.files_region,
        access_key_id=settings.files_access_key_id,
        secret_access_key=None if secret is None else secret.get_secret_value(),
    )


def _file_limits(settings: Settings) -> FileLimits:
    return FileLimits(
        image=settings.image_file_size_limit,
        audio=settings.audio_file_size_limit,
        video=settings.video_file_size_limit,
        other=settings.file_size_limit,
        blocked_extensions=frozenset(settings.blocked_file_extensions),
    )
