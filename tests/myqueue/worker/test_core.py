from __future__ import annotations

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import (
    CommitTimeout,
    InvalidRequest,
    NotLeader,
    UnsettledDeliveries,
)
from myqueue.testing.state import decoded
from tests.myqueue.conftest import World

SHORT = ClientConfig(delivery_timeout_ms=3_000, long_poll_ms=1_000)


def test_a_partition_without_a_leader_does_not_keep_the_others_waiting(world: World) -> None:
    bad, good = world.twin.create("logs", 2)
    with world.worker() as worker:
        leader, bad.leader = bad.leader, ""
        good.put(*"abcdef")
        began_s = world.clock.now_s
        found = [worker.receive(1, None)[0] for _ in range(6)]
        assert [one.partition for one in found] == [1] * 6
        assert world.clock.now_s - began_s < 2
        bad.leader = leader
        bad.put("x")
        assert [one.text for one in worker.receive(timeout=None)] == ["x"]


def test_nothing_means_that_every_partition_said_so(world: World) -> None:
    bad, _ = world.twin.create("logs", 2)
    with world.worker(config=SHORT) as worker:
        leader, bad.leader = bad.leader, ""
        bad.put("x")
        world.clock.after(1.0, lambda: setattr(bad, "leader", leader))
        assert [one.text for one in worker.receive(timeout=0)] == ["x"]
        bad.leader = ""
        with pytest.raises(NotLeader):
            worker.receive(timeout=0)


def test_an_election_after_a_long_wait_is_waited_for(world: World) -> None:
    moving, _ = world.twin.create("logs", 2)

    def move(leader: str) -> None:
        moving.leader = leader
        if leader:
            moving.put("late")

    with world.worker(config=SHORT) as worker:
        world.clock.after(100, lambda: move(""))
        world.clock.after(102, lambda: move(world.twin.brokers[1]))
        assert [one.text for one in worker.receive(timeout=None)] == ["late"]


def test_a_wait_takes_nothing_and_asks_a_quiet_partition_no_more(world: World) -> None:
    partitions = world.twin.create("logs", 3)
    with world.worker() as worker:
        world.clock.after(5.0, lambda: partitions[2].put("x"))
        (found,) = worker.receive(timeout=None)
        assert found.partition == 2
        asked = [decoded(body) for body in world.twin.bodies if body.path == "/messages/receive"]
        taken = [body["partition"] for body in asked if "partition" in body]
        assert sorted(taken) == [0, 1, 2, 2]
        held = [one for one in world.transport.begun if b"partitions" in one.request.body]
        looks = [decoded(one.request)["partitions"] for one in held]
        assert len(looks) == len({partition.leader for partition in partitions})
        assert sorted(one["partition"] for look in looks for one in look) == [0, 1, 2]


def test_a_message_that_comes_back_ends_the_wait(world: World) -> None:
    world.twin.create("logs", 1)[0].put("x")
    with world.worker(visibility_ms=7_000) as worker:
        worker.receive(timeout=None)
        began_s = world.clock.now_s
        assert [one.delivery_count for one in worker.receive(timeout=None)] == [2]
        assert world.clock.now_s - began_s == pytest.approx(7.0, abs=0.1)


def test_a_lost_answer_of_a_receive_costs_a_delivery_and_no_message(world: World) -> None:
    world.twin.create("logs", 1)[0].put("x")
    with world.worker() as worker:
        world.twin.fail("/messages/receive", applied=True)
        assert worker.receive(timeout=0) == []
        assert [one.delivery_count for one in worker.receive(timeout=None)] == [2]


def test_a_lost_answer_of_an_ack_is_asked_for_again(world: World) -> None:
    world.twin.create("logs", 1)[0].put("x", "y")
    with world.worker() as worker:
        found = worker.receive(timeout=None)
        world.twin.fail("/messages/ack", CommitTimeout(), applied=True, times=2)
        assert [(one.done, one.reason) for one in worker.ack(*found)] == [(True, "settled")] * 2
        assert worker.receive(timeout=60) == []


def test_an_ack_that_came_too_late_is_told_to_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.twin.create("logs", 1)[0].put("x")
    with world.worker(visibility=5) as slow, world.worker() as other:
        found = slow.receive()
        world.clock.sleep(6)
        assert [one.text for one in other.receive()] == ["x"]
        assert [one.done for one in slow.ack(found)] == [False]
    assert "ack of logs/0, offset 0, came too late" in caplog.text


def test_acks_are_one_call_per_partition(world: World) -> None:
    for partition in world.twin.create("logs", 2):
        partition.put("x", "y")
    with world.worker() as worker:
        found = worker.receive(timeout=None) + worker.receive(timeout=None)
        worker.ack(*found)
        assert len(world.twin.asked("/messages/ack")) == 2
        worker.nack()
        assert world.twin.asked("/messages/nack") == []


def test_an_ack_that_fails_for_one_partition_reaches_the_other(world: World) -> None:
    bad, good = world.twin.create("logs", 2)
    bad.put("x")
    good.put("y")
    with world.worker(config=SHORT) as worker:
        found = worker.receive(timeout=None) + worker.receive(timeout=None)
        bad.leader = ""
        with pytest.raises(UnsettledDeliveries) as caught:
            worker.ack(*found)
        results = caught.value.details["results"]
        assert {one.delivery.text: (one.done, one.reason) for one in results} == {
            "x": (False, "NOT_LEADER"),
            "y": (True, ""),
        }
        assert good.works["workers"].offset == 1


def test_a_refusal_is_raised_at_once(world: World) -> None:
    world.twin.create("logs", 2)
    with world.worker() as worker:
        world.twin.fail("/messages/receive", InvalidRequest("used by consumers", field="group"))
        with pytest.raises(InvalidRequest, match="used by consumers"):
            worker.receive(timeout=None)


def test_wakes_in_vain_are_slowed_down(world: World) -> None:
    world.twin.create("logs", 1)
    with world.worker() as worker:
        # Too many wait already: every wait is refused at once.
        handle = world.twin.is_held
        world.twin.is_held = lambda *_: 0  # type: ignore[method-assign]
        worker.receive(timeout=10)
        assert len(world.twin.asked("/messages/receive")) < 400
        world.twin.is_held = handle  # type: ignore[method-assign]


def test_an_expired_registration_is_renewed(world: World) -> None:
    world.twin.create("logs", 1)[0].put("x", "y")
    with world.worker() as worker:
        (found,) = worker.receive(1, None)
        world.twin.expired.add(worker.registration("logs").client_id)
        assert [one.done for one in worker.ack(found)] == [True]
        world.twin.expired.add(worker.registration("logs").client_id)
        assert [one.text for one in worker.receive(1, None)] == ["y"]


def test_a_new_partition_is_read_from_its_beginning_whatever_the_start(world: World) -> None:
    (old,) = partitions = world.twin.create("logs", 1)
    old.put("old")
    config = ClientConfig(metadata_max_age_ms=1_000)
    with world.worker(start="latest", config=config) as worker:
        partitions.append(world.twin.state.new_partition(1))
        partitions[1].put("new")
        world.clock.sleep(2)
        assert [one.text for one in worker.receive(timeout=None)] == ["new"]


def test_messages_that_retention_took_are_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.twin.create("logs", 1)[0].put("x")
    world.twin.amended["/messages/receive"] = lambda answer: {**answer, "missed": 3}
    with world.worker() as worker:
        worker.receive(timeout=None)
        assert worker.missed == 3
    assert "retention deleted 3 messages of logs/0 before group workers" in caplog.text


def test_messages_that_nobody_can_decode_are_counted_apart(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.twin.create("logs", 1)[0].put("x")
    world.twin.amended["/messages/receive"] = lambda answer: {**answer, "corrupt": 3}
    with world.worker() as worker:
        worker.receive(timeout=None)
        assert (worker.corrupt, worker.missed) == (3, 0)
    assert "3 messages of logs/0 cannot be decoded by anybody" in caplog.text
    assert "deleted" not in caplog.text
