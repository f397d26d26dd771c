"""Fixtures of the tests of storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.raft_app.storage_harness import MemoryDisk, SqliteDisk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.raft_app.storage_harness import Disk


@pytest.fixture(params=[MemoryDisk, SqliteDisk], ids=["memory", "sqlite"])
def disk(
    request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: pytest.FixtureRequest
) -> Iterator[Disk]:
    """A directory of each storage in turn, opened."""
    with django_db_blocker.unblock():
        disk = request.param(tmp_path / "broker")
        disk.storage.open()
        yield disk
        disk.storage.close()
