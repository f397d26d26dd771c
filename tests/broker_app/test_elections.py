"""Terms and elections, counted of what the engine tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


def test_each_term_and_each_election_won_counts_once(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    elections = runtime.elections
    replica.term = 5
    for _ in range(2):  # the first word of it is no new term; readiness is told as well
        engine.on_leadership[-1](replica)
    assert (elections.terms, elections.won) == (0, 1)
    engine.lose(replica)
    assert (elections.terms, elections.won) == (1, 1)
    engine.win(replica)
    assert (elections.terms, elections.won) == (2, 2)
    replica.faulty, replica.is_leader, replica.term = "a bad row", False, 9
    engine.on_leadership[-1](replica)
    assert (elections.terms, elections.won) == (4, 2)


def test_what_is_not_here_any_more_is_forgotten(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    other = engine.add("more", 0, group_id=9)
    for one in (replica, other):
        engine.on_leadership[-1](one)
    engine.remove(9)
    runtime.partition("logs", 0)
    assert list(runtime.elections._terms) == list(runtime.elections._led) == [7]
