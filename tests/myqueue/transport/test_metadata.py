from __future__ import annotations

from typing import Any

import pytest

from myqueue.contract.errors import (
    BrokerUnreachable,
    Internal,
    ManagerNotFound,
    NoLeader,
    NotLeader,
    Overloaded,
    PartitionNotFound,
    QueueError,
    TopicDoesNotExist,
)
from myqueue.transport.metadata import (
    MANAGER,
    Metadata,
    PartitionView,
    Route,
    TopicView,
    topic_view,
)

A, B, C = "http://a:1", "http://b:1", "http://c:1"


def known(leader: str = A, now_s: float = 0.0) -> Metadata:
    metadata = Metadata(max_age_s=300, avoid_s=1.0)
    metadata.store(TopicView("logs", (PartitionView(leader, (A, B, C)),)), now_s=now_s)
    return metadata


def led_by(address: str) -> NotLeader:
    return NotLeader("x", leader={"broker_id": 1, "address": address})


def walk(metadata: Metadata, *failures: tuple[str, QueueError]) -> Route:
    """Follow a route whose tries fail as given."""
    route = Route(metadata, "logs", 0)
    for address, error in failures:
        assert route.next(now_s=0) == address
        route.failed(address, error, now_s=0)
    return route


def test_the_leader_comes_first() -> None:
    assert Route(known(), "logs", 0).next(now_s=0) == A


def test_a_named_leader_is_believed() -> None:
    metadata = known()
    assert walk(metadata, (A, led_by(C))).next(now_s=0) == C
    assert metadata.fresh_view("logs", now_s=0) is not None
    assert Route(metadata, "logs", 0).next(now_s=0) == C


def test_a_broker_that_is_told_to_lead_again_is_tried_again() -> None:
    route = walk(known(), (A, NoLeader()), (B, led_by(A)))
    assert route.next(now_s=0) == A


def test_without_a_leader_all_replicas_are_asked_and_then_the_manager() -> None:
    metadata = known()
    route = walk(metadata, (A, NoLeader()), (B, NoLeader()), (C, NoLeader()))
    assert metadata.fresh_view("logs", now_s=0) is None
    assert route.next(now_s=0) == MANAGER
    assert route.next(now_s=0) == A


def test_an_unknown_leader_is_looked_for_among_the_replicas() -> None:
    assert walk(known(leader=""), (A, led_by(C))).next(now_s=0) == C


def test_a_broker_out_of_reach_is_avoided_for_a_while() -> None:
    metadata = known()
    gone = BrokerUnreachable("x")
    assert walk(metadata, (A, gone)).next(now_s=0) == B
    assert Route(metadata, "logs", 0).next(now_s=0.5) == B
    assert Route(metadata, "logs", 0).next(now_s=1.1) == A


def test_the_pause_doubles_with_every_failure_and_ends_with_an_answer() -> None:
    metadata = known()
    for pause_s in (1, 2, 4, 8, 16, 32, 32):
        metadata.broker_failed(A, now_s=0)
        assert metadata.avoids(A, now_s=pause_s - 0.1)
        assert not metadata.avoids(A, now_s=pause_s + 0.1)
    metadata.broker_answered(A)
    assert not metadata.avoids(A, now_s=0)
    metadata.broker_failed(A, now_s=0)
    assert not metadata.avoids(A, now_s=1.1)


def test_when_no_broker_can_be_reached_everything_goes_through_the_manager() -> None:
    metadata = known()
    gone = BrokerUnreachable("x")
    route = walk(metadata, (A, gone), (B, gone), (C, gone), (MANAGER, Overloaded()))
    assert route.next(now_s=0) == MANAGER
    assert Route(metadata, "logs", 0).next(now_s=0) == MANAGER


def test_a_leader_out_of_reach_is_reached_through_the_manager_even_if_others_name_it() -> None:
    metadata = known()
    gone = BrokerUnreachable("x")
    route = walk(metadata, (A, gone), (B, led_by(A)), (C, led_by(A)))
    assert route.next(now_s=0) == MANAGER


def test_without_a_manager_avoided_brokers_are_tried_again() -> None:
    metadata = known()
    gone = BrokerUnreachable("x")
    lost = ManagerNotFound("x")
    route = walk(metadata, (A, gone), (B, gone), (C, gone), (MANAGER, lost))
    assert route.next(now_s=0) == A


def test_errors_that_say_nothing_about_leaders_change_nothing() -> None:
    metadata = known()
    assert walk(metadata, (A, Overloaded()), (A, Overloaded())).next(now_s=0) == A
    assert metadata.fresh_view("logs", now_s=0) is not None


def test_a_topic_that_is_gone_is_forgotten() -> None:
    metadata = known()
    walk(metadata, (A, TopicDoesNotExist()))
    assert metadata.view("logs") is None


def test_a_topic_is_asked_for_again_when_it_is_old() -> None:
    metadata = known(now_s=10)
    assert metadata.fresh_view("logs", now_s=309) is not None
    assert metadata.fresh_view("logs", now_s=310) is None
    metadata.postpone("logs", until_s=311)
    assert metadata.fresh_view("logs", now_s=310) is not None
    metadata.mark_stale("logs")
    assert metadata.fresh_view("logs", now_s=0) is None
    assert metadata.fresh_view("other", now_s=0) is None


@pytest.mark.parametrize("partition", [-1, 1])
def test_there_is_no_other_partition(partition: int) -> None:
    with pytest.raises(PartitionNotFound):
        known().partition("logs", partition)
    metadata = known()
    metadata.learn_leader("logs", partition, B)
    metadata.learn_leader("other", 0, B)
    assert metadata.partition("logs", 0).leader == A


REPLICAS = [{"broker_id": 1, "address": A}, {"broker_id": 2, "address": B}, {"broker_id": 3}]


@pytest.mark.parametrize(
    ("leader", "address"),
    [
        ({"broker_id": 2, "address": B}, B),
        ({"broker_id": 2}, B),
        (1, A),
        (B, B),
        (None, ""),
        (9, ""),
    ],
)
def test_a_manager_may_name_the_leader_in_several_ways(leader: Any, address: str) -> None:
    rows = [{"partition": 0, "leader": leader, "replicas": REPLICAS}]
    view = topic_view({"topic": "logs", "partitions": rows})
    assert view == TopicView("logs", (PartitionView(address, (A, B)),))


def test_partitions_are_sorted() -> None:
    rows = [{"partition": index, "leader": f"http://{index}"} for index in (2, 0, 1)]
    view = topic_view({"topic": "logs", "partitions": rows})
    assert [partition.leader for partition in view.partitions] == [f"http://{n}" for n in range(3)]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"topic": "logs"},
        {"topic": "logs", "partitions": []},
        {"topic": "logs", "partitions": 3},
        {"topic": "logs", "partitions": [5]},
        {"topic": "logs", "partitions": [{"partition": 1}]},
    ],
)
def test_a_topic_of_another_shape_is_an_error_of_the_manager(body: dict[str, Any]) -> None:
    with pytest.raises(Internal):
        topic_view(body)
