"""A broker over the engine twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker_app import runtime as runtimes
from tests.broker_app.engine_twin import (
    EngineTwin,
    LinkTwin,
    PeersTwin,
    ReplicaTwin,
    runtime_over,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker_app.runtime import BrokerRuntime


@pytest.fixture
def engine() -> EngineTwin:
    return EngineTwin()


@pytest.fixture
def replica(engine: EngineTwin) -> ReplicaTwin:
    """Partition 0 of topic logs, led here."""
    return engine.add()


@pytest.fixture
def link() -> LinkTwin:
    return LinkTwin()


@pytest.fixture
def peers() -> PeersTwin:
    return PeersTwin()


@pytest.fixture
def runtime(engine: EngineTwin, link: LinkTwin, peers: PeersTwin) -> Iterator[BrokerRuntime]:
    made = runtime_over(engine, link, peers=peers)
    runtimes.install(made)
    yield made
    runtimes.install(None)
