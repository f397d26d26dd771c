"""The turn runner: what it does when a turn breaks off. The rest is tested through the engine."""

from __future__ import annotations

import pytest

from raft_app.engine.loop import TurnRunner
from raft_app.storage.protocol import SetFaulty


class Replica:
    """Drains as the test says."""

    def __init__(self, group_id: int, drained: list[int]) -> None:
        self.group_id = group_id
        self.drained = drained
        self.error: Exception | None = None
        self.more = False

    def drain(self, turn) -> bool:
        if self.error is not None:
            raise self.error
        self.drained.append(self.group_id)
        more, self.more = self.more, False
        return more


class Silent:
    """Takes everything and does nothing."""

    def flush(self) -> None:
        pass


def make(replicas, failures):
    return TurnRunner(
        replicas=replicas,
        transport=None,
        storage=None,
        stream=Silent(),
        tails=None,
        readers=None,
        on_failure=failures.append,
    )


async def test_group_marked_twice_is_drained_once():
    drained: list[int] = []
    replica = Replica(1, drained)
    runner = make({1: replica}, [])
    runner.mark(replica)
    runner.mark(replica)
    runner.run()
    assert drained == [1]


async def test_group_with_more_to_do_comes_again_in_the_next_turn():
    drained: list[int] = []
    replica = Replica(1, drained)
    replica.more = True
    runner = make({1: replica}, [])
    runner.mark(replica)
    runner.run()
    runner.run()
    assert drained == [1, 1]
    assert runner.turns == 2


async def test_group_that_is_gone_is_passed_over():
    drained: list[int] = []
    runner = make({}, [])
    runner.mark(Replica(1, drained))
    runner.run()
    assert drained == []


async def test_broken_turn_fails_the_broker():
    failures: list[BaseException] = []
    replica = Replica(1, [])
    replica.error = AssertionError("our own bug")
    runner = make({1: replica}, failures)
    runner.mark(replica)
    with pytest.raises(AssertionError):
        runner.run()
    assert failures == [replica.error]


async def test_stopped_runner_runs_no_turn():
    drained: list[int] = []
    replica = Replica(1, drained)
    runner = make({1: replica}, [])
    runner.mark(replica)
    runner.stop()
    runner.run()
    assert drained == []


async def test_what_is_found_of_a_replica_that_is_gone_harms_nobody():
    class SoundReplica(Replica):
        faulty = ""

        def become_faulty(self, reason, turn) -> None:
            self.faulty = reason
            turn.store(self, SetFaulty(self.group_id, reason), None)

    class Stored(Silent):
        def __init__(self) -> None:
            self.operations: list[object] = []

        def submit(self, group_id, operation, on_durable) -> None:
            self.operations.append(operation)

    gone, successor = SoundReplica(1, []), SoundReplica(1, [])
    replicas = {1: gone}
    runner = make(replicas, [])
    runner._stream = stored = Stored()
    runner.make_faulty(gone, "a bad row")
    replicas[1] = successor
    runner.make_faulty(gone, "another bad row")
    runner.run()
    assert stored.operations == []
    runner.make_faulty(successor, "a bad row")
    runner.run()
    assert stored.operations == [SetFaulty(1, "a bad row")]
