"""Clusters of real processes for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.processes import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Give a cluster of three brokers of its own to a test."""
    with Cluster(tmp_path / "data") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give one cluster to all tests of a module; they must not break it."""
    with Cluster(tmp_path_factory.mktemp("cluster") / "data") as cluster:
        yield cluster


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a measured figure past the capture, so that every run shows it."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}")  # noqa: T201 - what this fixture is for

    return show
