"""ReadIndex rounds of one group, without a node behind them."""

from __future__ import annotations

import pytest

from myqueue.contract.errors import NoLeader
from raft_app.core.errors import NodeNotReady
from raft_app.core.types import ReadConfirmed, Ready
from raft_app.engine.replica import ReadRounds


class Node:
    """Records the rounds that are asked of it."""

    def __init__(self) -> None:
        self.contexts: list[int] = []
        self.error: Exception | None = None

    def read_index(self, context: int) -> None:
        if self.error is not None:
            raise self.error
        self.contexts.append(context)


@pytest.fixture
async def rounds():
    return ReadRounds(lambda: NoLeader("none"))


async def test_readers_of_one_turn_share_a_round(rounds):
    node = Node()
    first, second = rounds.ask(), rounds.ask()
    rounds.start(node)
    assert not rounds.asked
    assert node.contexts == [1]
    rounds.settle(Ready(reads_confirmed=(ReadConfirmed(1, 5),)), 5)
    assert first.done()
    assert second.done()


async def test_confirmed_read_waits_until_its_index_is_applied(rounds):
    reader = rounds.ask()
    rounds.start(Node())
    rounds.settle(Ready(reads_confirmed=(ReadConfirmed(1, 5),)), 4)
    assert not reader.done()
    rounds.release(5)
    assert reader.done()


async def test_round_that_failed_refuses_its_readers_alone(rounds):
    node = Node()
    early = rounds.ask()
    rounds.start(node)
    late = rounds.ask()
    rounds.start(node)
    rounds.settle(Ready(reads_failed=(1,)), 0)
    with pytest.raises(NoLeader):
        await early
    assert not late.done()


async def test_node_that_cannot_read_refuses(rounds):
    node = Node()
    node.error = NodeNotReady()
    reader = rounds.ask()
    rounds.start(node)
    with pytest.raises(NoLeader):
        await reader


async def test_end_refuses_readers_wherever_they_are(rounds):
    node = Node()
    confirmed = rounds.ask()
    rounds.start(node)
    rounds.settle(Ready(reads_confirmed=(ReadConfirmed(1, 9),)), 0)
    sent = rounds.ask()
    rounds.start(node)
    asked = rounds.ask()
    rounds.refuse_all()
    for reader in (confirmed, sent, asked):
        with pytest.raises(NoLeader):
            await reader


async def test_reader_that_gave_up_is_passed_over(rounds):
    reader = rounds.ask()
    reader.cancel()
    rounds.start(Node())
    rounds.settle(Ready(reads_confirmed=(ReadConfirmed(1, 0),)), 0)
    assert reader.cancelled()
