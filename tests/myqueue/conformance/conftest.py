"""One suite for every place, blocking and asyncio: memory, sockets, a manager alone, a cluster."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from myqueue import Client
from myqueue.contract.http1 import Request, render
from myqueue.testing.queue import InMemoryQueue
from myqueue.transport import aio, connection
from tests.myqueue.conformance.styles import Style
from tests.myqueue.http_twin import HttpCluster

_numbers = itertools.count(1)


BY_VIEWS = "cluster by its views"
"""Brokers answer the library beside their views where nothing is to be negotiated; here it is."""
PLACES = [
    "memory",
    "sockets",
    "manager alone",
    pytest.param("cluster", marks=pytest.mark.cluster),
    pytest.param(BY_VIEWS, marks=pytest.mark.cluster),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out one of the two styles where the servers' way matters and not the client's."""
    items[:] = [item for item in items if f"[asyncio-{BY_VIEWS}" not in item.nodeid]


def render_for_views(request: Request, host: str) -> bytes:
    """Return the bytes of a request that says the same in a way that only a view understands."""
    return render(request._replace(accept=f"{request.accept};q=1"), host)


@pytest.fixture(params=PLACES)
def address(
    request: pytest.FixtureRequest, kept_cluster: object, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Give the manager's address of each kind of place."""
    if request.param == BY_VIEWS:
        for module in (connection, aio):
            monkeypatch.setattr(module, "render", render_for_views)
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
        yield request.getfixturevalue("shared_cluster").manager


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
