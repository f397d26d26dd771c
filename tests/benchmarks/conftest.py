"""A cluster in memory for the workloads."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from benchmarks.site import Site
from myqueue import registered
from tests.myqueue.cluster_twin import ClusterTwin, MemoryTransport
from tests.myqueue.conftest import BeatRecorder
from tests.myqueue.fake_clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from myqueue.http1 import Answer, Request


class WaitingTwin(ClusterTwin):
    """Answers several threads, and holds a long poll until something has changed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._changed = threading.Condition(threading.RLock())
        self.wait = self._wait

    def handle(self, address: str, request: Request) -> Answer:
        with self._changed:
            answer = super().handle(address, request)
            self._changed.notify_all()
            return answer

    def _wait(self, holds: Callable[[], bool], seconds: float) -> bool:
        return self._changed.wait_for(holds, seconds)


@pytest.fixture
def twin() -> ClusterTwin:
    """A cluster in memory with three brokers and no topic."""
    return WaitingTwin()


@pytest.fixture
def site(twin: ClusterTwin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    """The same as a workload sees it."""
    monkeypatch.setattr(registered, "HEARTBEATS", BeatRecorder())
    state_path = tmp_path / "cluster.json"
    places = [{"address": address, "pid": 0} for address in twin.brokers]
    state_path.write_text(json.dumps({"brokers": places}))
    return Site(twin.manager, state_path, transport=MemoryTransport(twin, FakeClock()))
