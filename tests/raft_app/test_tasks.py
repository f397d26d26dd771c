"""What the scheduler of a broker posts."""

from __future__ import annotations

import pytest

from raft_app import registry, tasks


class EngineTwin:
    """Notes what is posted."""

    def __init__(self) -> None:
        self.ticks = 0
        self.posted: list[object] = []

    def post_due_ticks(self) -> int:
        self.ticks += 1
        return 2

    def post(self, callback: object) -> None:
        self.posted.append(callback)

    def request_checkpoints(self) -> None:
        raise AssertionError("runs in the loop, not here")

    request_scrub = request_checkpoints


@pytest.fixture
def engine():
    twin = EngineTwin()
    registry.install(twin)
    yield twin
    registry.install(None)


def test_each_task_posts_one_thing_and_returns(engine):
    assert tasks.raft_tick() == 2
    assert (engine.ticks, engine.posted) == (1, [])
    tasks.checkpoint()
    tasks.scrub()
    assert engine.posted == [engine.request_checkpoints, engine.request_scrub]


def test_without_an_engine_nothing_happens():
    registry.install(None)
    assert tasks.raft_tick() == 1
    for task in (tasks.checkpoint, tasks.scrub):
        task()
