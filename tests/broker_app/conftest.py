"""A broker over the engine twin."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from broker_app import runtime as runtimes
from broker_app.runtime import BrokerRuntime
from tests.broker_app.engine_twin import EngineTwin, GroupTwin, LinkTwin, OptionsTwin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker_app.replication import Replication


@pytest.fixture
def engine() -> EngineTwin:
    return EngineTwin()


@pytest.fixture
def group(engine: EngineTwin) -> GroupTwin:
    """Partition 0 of topic logs, led here."""
    return engine.add()


@pytest.fixture
def link() -> LinkTwin:
    return LinkTwin()


@pytest.fixture
def runtime(engine: EngineTwin, link: LinkTwin) -> Iterator[BrokerRuntime]:
    made = BrokerRuntime(cast("Replication", engine), link, OptionsTwin())
    runtimes.install(made)
    yield made
    runtimes.install(None)
