"""The replicas of a broker, and who is told what happens to them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from raft_app.engine.local_replicas import Event, LocalReplicas


def replica(group_id: int):
    return SimpleNamespace(group_id=group_id)


def test_a_watcher_begins_with_all_that_are_there():
    one, other = replica(1), replica(2)
    replicas = LocalReplicas([one, other])
    assert replicas.watch(Event.APPLIED) == {1: one, 2: other} == replicas


@pytest.mark.parametrize("event", Event)
def test_each_watcher_is_told_in_the_same_step_who_comes_and_goes(event):
    replicas, one = LocalReplicas(), replica(1)
    seen = replicas.watch(event)
    replicas.add(one)
    assert seen.pop(1) is one is replicas[1]
    replicas.drop(one)
    assert seen.pop(1) is one
    assert not replicas


def test_a_watcher_hears_of_what_it_asked_for_alone():
    one = replica(1)
    replicas = LocalReplicas([one])
    maps = {event: replicas.watch(event) for event in Event}
    both = replicas.watch(Event.APPLIED, Event.STORED)
    for event in set(Event) - {Event.MOVED}:
        for seen in (*maps.values(), both):
            seen.clear()
        replicas.happened(event, one)
        assert [other for other in Event if maps[other]] == [event]
        assert bool(both) == (event in {Event.APPLIED, Event.STORED})
