"""Which replicas have something new to say of what they have kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker_app.kept_told import KeptTold
from raft_app.engine.local_replicas import Event

if TYPE_CHECKING:
    from tests.broker_app.engine_twin import EngineTwin


@pytest.fixture
def told(engine: EngineTwin) -> KeptTold:
    for group_id in (1, 2, 3):
        engine.add(partition=group_id, group_id=group_id)
    return KeptTold(engine.replicas, engine.replicas.watch(*Event))  # type: ignore[arg-type]


def keep_more(engine: EngineTwin, *group_ids: int) -> None:
    for group_id in group_ids:
        engine.replicas[group_id].applied.index += 1
        engine.replicas[group_id].note_change()


def test_who_has_waited_longest_comes_first(engine: EngineTwin, told: KeptTold) -> None:
    assert [told.next(2) for _ in range(3)] == [[1, 2], [3], []]
    keep_more(engine, 3, 1, 2)
    assert [told.next(2) for _ in range(3)] == [[3, 1], [2], []]


def test_what_changed_and_keeps_the_same_says_nothing(engine: EngineTwin, told: KeptTold) -> None:
    told.tell_all()
    engine.replicas[2].note_change()
    assert told.next(9) == []
    keep_more(engine, 2)
    assert told.next(9) == [2]


def test_one_that_went_is_forgotten(engine: EngineTwin, told: KeptTold) -> None:
    told.tell_all()
    engine.remove(2)
    assert told.next(9) == []
    engine.add(partition=2, group_id=2).note_change()
    assert told.next(9) == [2]
