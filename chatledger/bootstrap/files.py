"""Files on their way in and out, and how large they may be."""

from chatledger.application.audit.reads import ContentReads
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
    settings: Settings,
    blobs: BlobStore,
    ledger: Ledger,
    views: Views,
    directory: AppDirectory,
    clock: Clock,
    ownership: Ownership,
    reads: ContentReads,
) -> tuple[StoringFiles, StoredFiles]:
    """Files on their way in, and out again."""
    links = FileLinks(ledger.keyring, clock, settings.file_link_lifetime)
    storing = StoringFiles(ledger, blobs, _file_limits(settings), new_id)
    return storing, StoredFiles(views, directory, ledger.keyring, blobs, links, ownership, reads)


def _file_limits(settings: Settings) -> FileLimits:
    return FileLimits(
        image=settings.image_file_size_limit,
        audio=settings.audio_file_size_limit,
        video=settings.video_file_size_limit,
        other=settings.file_size_limit,
        blocked_extensions=frozenset(settings.blocked_file_extensions),
    )
