"""The loop of an engine: what it does when a turn breaks off; `Engine` is tested for the rest."""

from __future__ import annotations

import pytest

from raft_app.engine.loop import EngineLoop
from raft_app.storage.protocol import SetFaulty


class Replica:
    """Drains as the test says."""

    is_asleep = False

    def __init__(self, group_id: int, drained: list[int]) -> None:
        self.group_id = group_id
        self.drained = drained
        self.error: Exception | None = None
        self.more = False

    def drain(self, effects) -> bool:
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
    return EngineLoop(
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
    engine_loop = make({1: replica}, [])
    engine_loop.mark(replica)
    engine_loop.mark(replica)
    engine_loop.run()
    assert drained == [1]


async def test_group_with_more_to_do_comes_again_in_the_next_turn():
    drained: list[int] = []
    replica = Replica(1, drained)
    replica.more = True
    engine_loop = make({1: replica}, [])
    engine_loop.mark(replica)
    engine_loop.run()
    engine_loop.run()
    assert drained == [1, 1]
    assert engine_loop.turns == 2


async def test_group_that_is_gone_is_passed_over():
    drained: list[int] = []
    engine_loop = make({}, [])
    engine_loop.mark(Replica(1, drained))
    engine_loop.run()
    assert drained == []


async def test_broken_turn_fails_the_broker():
    failures: list[BaseException] = []
    replica = Replica(1, [])
    replica.error = AssertionError("our own bug")
    engine_loop = make({1: replica}, failures)
    engine_loop.mark(replica)
    with pytest.raises(AssertionError):
        engine_loop.run()
    assert failures == [replica.error]


async def test_stopped_runner_runs_no_turn():
    drained: list[int] = []
    replica = Replica(1, drained)
    engine_loop = make({1: replica}, [])
    engine_loop.mark(replica)
    engine_loop.stop()
    engine_loop.run()
    assert drained == []


async def test_what_is_found_of_a_replica_that_is_gone_harms_nobody():
    class SoundReplica(Replica):
        faulty = ""

        def become_faulty(self, reason, effects) -> None:
            self.faulty = reason
            effects.writes.append((self, SetFaulty(self.group_id, reason), None))

    class Stored(Silent):
        def __init__(self) -> None:
            self.operations: list[object] = []

        def submit(self, group_id, operation, on_durable) -> None:
            self.operations.append(operation)

    gone, successor = SoundReplica(1, []), SoundReplica(1, [])
    replicas = {1: gone}
    engine_loop = make(replicas, [])
    engine_loop._stream = stored = Stored()
    engine_loop.make_faulty(gone, "a bad row")
    replicas[1] = successor
    engine_loop.make_faulty(gone, "another bad row")
    engine_loop.run()
    assert stored.operations == []
    engine_loop.make_faulty(successor, "a bad row")
    engine_loop.run()
    assert stored.operations == [SetFaulty(1, "a bad row")]
