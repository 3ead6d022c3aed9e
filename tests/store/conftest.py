"""A store in a file, and, where PostgreSQL is installed, one on a real server that the tests start."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.store.connecting import FILE, Database
from annotate.store.store import Store


@pytest.fixture
def file(tmp_path: Path) -> Store:
    return Store(Database(tmp_path / FILE))


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store, in either kind of database."""
    if request.param == "sqlite":
        return Store(Database(tmp_path / FILE))
    return Store(Database(url=request.getfixturevalue("server")), project=str(tmp_path))
