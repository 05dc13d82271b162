from pathlib import Path

import pytest

from tests.ferry.running import Env, settings


@pytest.fixture
def env(tmp_path: Path, database_url: str | None) -> Env:
    return settings(database_url or f"sqlite:///{tmp_path / 'ledger.db'}")
