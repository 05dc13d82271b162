"""Signed links to files."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.application.errors import LinkRefusedError
from chatledger.application.files.links import FileLinks
from chatledger.application.system_clock import new_id
from tests.support.master_keys import master_key

FILE = UUID(int=7)
LIFETIME = 300


class Clock:
    """Stands still until it is moved."""

    time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def links(tmp_path: Path, clock: Clock) -> Iterator[FileLinks]:
    keyring = StoredKeyring(SqliteKeyStore(tmp_path / "keys.db"), master_key(tmp_path), new_id)
    yield FileLinks(keyring, clock, LIFETIME)
    keyring.close()


def parts_of(link: str) -> tuple[UUID, int, str]:
    parts = urlsplit(link)
    query = parse_qs(parts.query)
    return UUID(parts.path.removeprefix("/files/")), int(query["expires"][0]), query["signature"][0]


def test_a_link_is_good_until_it_ends(links: FileLinks, clock: Clock) -> None:
    link = parts_of(links.path(FILE))
    links.check(*link)
    clock.time += timedelta(seconds=LIFETIME)
    links.check(*link)
    clock.time += timedelta(seconds=1)
    with pytest.raises(LinkRefusedError):
        links.check(*link)


def test_a_link_that_was_changed_is_refused(links: FileLinks) -> None:
    file_id, expires, signature = parts_of(links.path(FILE))
    other = "0" if signature[0] != "0" else "1"
    for changed in [
        (UUID(int=8), expires, signature),
        (file_id, expires + 1, signature),
        (file_id, expires, other + signature[1:]),
        (file_id, expires, signature[:-1]),
        (file_id, expires, ""),
        (file_id, expires, "é"),
    ]:
        with pytest.raises(LinkRefusedError):
            links.check(*changed)


def test_a_link_of_another_store_is_refused(links: FileLinks, clock: Clock, tmp_path: Path) -> None:
    keyring = StoredKeyring(SqliteKeyStore(tmp_path / "other.db"), master_key(tmp_path), new_id)
    with pytest.raises(LinkRefusedError):
        links.check(*parts_of(FileLinks(keyring, clock, LIFETIME).path(FILE)))
    keyring.close()
