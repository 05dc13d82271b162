from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.persistence.stores import Store, open_store


@pytest.fixture
def store(tmp_path: Path, database_url: str | None) -> Iterator[Store]:
    with open_store(tmp_path, database_url) as opened:
        yield opened
