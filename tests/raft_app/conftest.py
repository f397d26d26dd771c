"""Fixtures of the tests of storage and of engines."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from raft_app.storage.sqlite.storage import SqliteStorage
from tests.doubles.storage import MemoryStorage
from tests.raft_app.engine.engine_harness import EngineCluster
from tests.raft_app.engine.snapshot_harness import CONFIG
from tests.raft_app.storage.storage_harness import MemoryDisk, SqliteDisk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from raft_app.storage.protocol import Storage
    from tests.raft_app.storage.storage_harness import Disk


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


async def _short_logs(make_storage: Callable[[int], Storage]) -> AsyncIterator[EngineCluster]:
    """Four brokers; group 1 on the first three, its logs kept short."""
    cluster = EngineCluster(4, config=CONFIG, make_storage=make_storage)
    await cluster.start_all()
    await cluster.create_group(brokers=(1, 2, 3))
    yield cluster
    await cluster.stop_all()


@pytest.fixture(scope="session")
def empty_directory(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: pytest.FixtureRequest
) -> Path:
    """A broker's directory that was opened once; copies save making the tables again."""
    directory = tmp_path_factory.mktemp("broker") / "empty"
    storage = SqliteStorage(directory)
    with django_db_blocker.unblock():
        storage.open()
        storage.close()
    return directory


@pytest.fixture(params=["memory", "sqlite"])
async def short_logs(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    empty_directory: Path,
    django_db_blocker: pytest.FixtureRequest,
) -> AsyncIterator[EngineCluster]:
    """Brokers over each storage in turn whose logs are kept short."""

    def make_storage(broker_id: int) -> Storage:
        if request.param == "memory":
            return MemoryStorage()
        directory = tmp_path / str(broker_id)
        shutil.copytree(empty_directory, directory)
        return SqliteStorage(directory)

    with django_db_blocker.unblock():
        async for cluster in _short_logs(make_storage):
            yield cluster


@pytest.fixture
async def short_log_twins() -> AsyncIterator[EngineCluster]:
    """Brokers over memory twins whose logs are kept short."""
    async for cluster in _short_logs(lambda _: MemoryStorage()):
        yield cluster
