"""One suite for every place, blocking and asyncio: memory, sockets, a manager alone, a cluster."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from myqueue import Client
from myqueue.testing.queue import InMemoryQueue
from tests.cluster.processes import Cluster
from tests.myqueue.conformance.styles import Style
from tests.myqueue.http_twin import HttpCluster

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the manager's address of a cluster of processes to all tests that want one."""
    with Cluster(tmp_path_factory.mktemp("conformance") / "data") as cluster:
        yield cluster.manager


PLACES = [
    "memory",
    "sockets",
    "manager alone",
    pytest.param("cluster", marks=pytest.mark.cluster),
]


@pytest.fixture(params=PLACES)
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the manager's address of each kind of place."""
    if request.param == "memory":
        with InMemoryQueue() as queue:
            yield queue.address
    elif request.param == "sockets":
        twin = HttpCluster()
        yield twin.address
        twin.stop()
    elif request.param == "manager alone":
        twin = HttpCluster()
        twin.hide_brokers()
        yield twin.address
        twin.stop()
    else:
        yield request.getfixturevalue("cluster_address")


@pytest.fixture(params=["blocking", "asyncio"])
def style(request: pytest.FixtureRequest, address: str) -> Style:
    """Give each way to write programs."""
    return Style(address, is_async=request.param == "asyncio")


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    """Give an administrator's client."""
    with Client(address) as client:
        yield client


@pytest.fixture
def make_topic(client: Client) -> Callable[..., str]:
    """Give a function that makes a topic with a name of its own."""

    def make(partitions: int = 1) -> str:
        topic = f"topic-{next(_numbers)}"
        client.create_topic(topic, partitions)
        return topic

    return make
