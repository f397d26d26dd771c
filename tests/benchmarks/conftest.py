"""A cluster in memory for the workloads."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from benchmarks.peers.queuesite import Site
from myqueue.transport import lifetime
from tests.myqueue.cluster_twin import ClusterTwin, MemoryTransport
from tests.myqueue.conftest import BeatRecorder
from tests.myqueue.fake_clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from myqueue.contract.http1 import Answer, Request


class SharedTwin(ClusterTwin):
    """Answers several threads, one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()

    def handle(self, address: str, request: Request) -> Answer:
        with self._lock:
            return super().handle(address, request)


@pytest.fixture
def twin() -> ClusterTwin:
    """A cluster in memory with three brokers and no topic."""
    return SharedTwin()


@pytest.fixture
def site(twin: ClusterTwin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    """The same as a workload sees it."""
    monkeypatch.setattr(lifetime, "HEARTBEATS", BeatRecorder())
    state_path = tmp_path / "cluster.json"
    places = [{"address": address, "pid": 0} for address in twin.brokers]
    state_path.write_text(json.dumps({"brokers": places}))
    return Site(twin.manager, state_path, transport=MemoryTransport(twin, FakeClock()))
