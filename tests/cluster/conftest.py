"""Clusters of real processes for tests."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.cluster.disks import DisksCluster
from tests.cluster.fault_cluster import FaultCluster
from tests.cluster.kept import Kept
from tests.together import MEASURED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.processes import Cluster


@pytest.fixture
def cluster(kept_cluster: Kept[Cluster]) -> Iterator[Cluster]:
    """Give a cluster of three brokers without topics; what the test kills is started again."""
    with kept_cluster.lent() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kept_fault_cluster(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Kept[FaultCluster]]:
    """Keep a cluster of three brokers behind proxies, whose partitions sleep after a second."""
    directory = tmp_path_factory.mktemp
    with Kept(lambda: FaultCluster(directory("faults"), quiesce_after_ticks="20")) as kept:
        yield kept


@pytest.fixture
def fault_cluster(kept_fault_cluster: Kept[FaultCluster]) -> Iterator[FaultCluster]:
    """Give a cluster of three brokers behind proxies, without topics, to a test.

    What the test kills and cuts it starts and heals.
    """
    with kept_fault_cluster.lent() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kept_bad_disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept[DisksCluster]]:
    """Keep a cluster each of whose brokers has a disk of its own that can go bad."""
    with Kept(lambda: DisksCluster(tmp_path_factory.mktemp("disks"))) as kept:
        yield kept


@pytest.fixture
def bad_disks(kept_bad_disks: Kept[DisksCluster]) -> Iterator[DisksCluster]:
    """Give a cluster each of whose brokers has a disk of its own, which the test heals."""
    with kept_bad_disks.lent() as cluster:
        yield cluster


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Keep a measured figure, which the end of every run shows."""
    return partial(record_property, MEASURED)
