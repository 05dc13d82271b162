"""What is peculiar to one place for files: modes and leftovers of a folder, refusals and outages of a storage."""

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from chatledger.adapters.files.folder import FolderBlobStore
from chatledger.adapters.files.s3 import S3BlobStore
from chatledger.adapters.s3_buckets import Bucket
from chatledger.application.ports.files import BlobsUnavailableError
from chatledger.application.system_clock import new_id
from tests.contracts.test_blob_store import in_pieces, joined
from tests.support.s3 import BUCKET, S3Server


async def test_a_folder_of_files_is_private(tmp_path: Path) -> None:
    blobs, blob_id = FolderBlobStore(tmp_path / "files"), new_id()
    await blobs.write(blob_id, in_pieces(b"some"))
    paths = await asyncio.to_thread(lambda: [tmp_path / "files", *tmp_path.glob("files/**/*")])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert modes == {"files": 0o700, "incoming": 0o700, blob_id.hex[-2:]: 0o700, str(blob_id): 0o600}


async def test_what_a_dead_process_left_unfinished_goes_at_the_next_opening(tmp_path: Path) -> None:
    blob_id = new_id()
    await FolderBlobStore(tmp_path).write(blob_id, in_pieces(b"some"))
    (tmp_path / "incoming" / str(new_id())).write_bytes(b"half")
    blobs = FolderBlobStore(tmp_path)
    assert list((tmp_path / "incoming").iterdir()) == []
    assert await joined(blobs.read(blob_id, 0, 4)) == b"some"


async def test_what_others_are_at_stays_in_a_folder_that_is_shared(tmp_path: Path) -> None:
    FolderBlobStore(tmp_path)
    under_way, forgotten = tmp_path / "incoming" / str(new_id()), tmp_path / "incoming" / str(new_id())
    under_way.write_bytes(b"half")
    forgotten.write_bytes(b"half")
    os.utime(forgotten, (0, 0))
    FolderBlobStore(tmp_path, is_shared=True)
    assert list((tmp_path / "incoming").iterdir()) == [under_way]


async def test_a_folder_that_cannot_be_written_to_is_trouble_of_the_store(tmp_path: Path) -> None:
    blobs = FolderBlobStore(tmp_path)
    (tmp_path / "incoming").rmdir()
    (tmp_path / "incoming").write_bytes(b"no folder")
    with pytest.raises(BlobsUnavailableError):
        await blobs.write(new_id(), in_pieces(b"some"))


async def test_an_object_storage_that_refuses_or_is_away_is_trouble_that_tells_no_secret(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server:
        blobs = S3BlobStore(server.bucket(secret_access_key="wrong"))
        with pytest.raises(BlobsUnavailableError) as refused:
            await blobs.write(new_id(), in_pieces(b"some"))
    assert str(refused.value) == "files: the object storage failed: PermissionDeniedError"


async def test_an_object_storage_that_nobody_listens_for_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatledger.adapters.s3_buckets.RETRIES", 1)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        away = S3BlobStore(Bucket(name=BUCKET, endpoint=endpoint, access_key_id="a", secret_access_key="b"))
        with pytest.raises(BlobsUnavailableError):
            await joined(away.read(new_id(), 0, 1))
        with pytest.raises(BlobsUnavailableError):
            await away.delete(new_id())
