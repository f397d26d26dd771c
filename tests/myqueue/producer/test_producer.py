from __future__ import annotations

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import (
    BrokerUnreachable,
    ClientClosed,
    ClientExpired,
    CommitTimeout,
    DeliveryTimeout,
    InvalidRequest,
    NoLeader,
    Overloaded,
    PartitionNotFound,
    ProducerFenced,
    QueueError,
    UnauthorizedException,
    UndeliveredMessages,
    UnknownProducer,
)
from myqueue.contract.records import read_header
from tests.myqueue.conftest import World

PRODUCE = "/producer/produce"
PATIENT = ClientConfig(delivery_timeout_ms=2_000)


def test_a_message_goes_straight_to_the_leader(world: World) -> None:
    world.twin.create("logs", 3)
    producer = world.producer()
    assert producer.enqueue("logs", "hello", partition=1) == (1, 0)
    assert world.twin.asked(PRODUCE) == ["http://broker-2:80"]
    assert world.twin.topics["logs"][1].values == ["hello"]


def test_keyless_messages_are_dealt_out_in_turn(world: World) -> None:
    world.twin.create("logs", 4)
    producer = world.producer()
    for number in range(100):
        producer.enqueue("logs", f"{number}")
    assert [len(partition.records) for partition in world.twin.topics["logs"]] == [25] * 4


@pytest.mark.parametrize(
    ("given", "partition"),
    [({"partition_key": 7}, 3), ({"partition_key": "user-17"}, 1), ({"key": "user-17"}, 1)],
)
def test_a_key_picks_the_partition(world: World, given: dict[str, object], partition: int) -> None:
    world.twin.create("logs", 4)
    assert world.producer().enqueue("logs", "x", **given).partition == partition


def test_a_list_of_topics_gets_a_list_of_places(world: World) -> None:
    world.twin.create("a", 1)
    world.twin.create("b", 1)
    producer = world.producer(["a", "b"])
    assert producer.enqueue(["a", "b"], "x") == [(0, 0), (0, 0)]
    assert world.twin.messages("a") == world.twin.messages("b") == ["x"]


def test_an_unknown_partition_is_refused_after_asking_again(world: World) -> None:
    world.twin.create("logs", 2)
    producer = world.producer()
    producer.enqueue("logs", "x", partition=0)
    for partition in (-1, 2):
        with pytest.raises(PartitionNotFound):
            producer.enqueue("logs", "x", partition=partition)
    world.twin.create("logs", 3)
    assert producer.enqueue("logs", "x", partition=2) == (2, 0)


def test_a_topic_without_registration_is_refused(world: World) -> None:
    with pytest.raises(UnauthorizedException, match="not registered"):
        world.producer().enqueue("other", "x")


def test_partition_and_key_contradict_each_other(world: World) -> None:
    with pytest.raises(InvalidRequest):
        world.producer().enqueue("logs", "x", 1, partition=1)
    with pytest.raises(InvalidRequest):
        world.producer().enqueue("logs", "x", partition="1")  # type: ignore[call-overload]


@pytest.mark.parametrize("value", ["", "\0", "'\"", "\N{PILE OF POO}", b"\xff\x00", "a\nb"])
def test_a_value_arrives_as_it_was_sent(world: World, value: str | bytes) -> None:
    producer = world.producer()
    producer.enqueue("logs", value, partition=0, key=b"\xfe", headers={"h": b"\x01"})
    (record,) = world.twin.topics["logs"][0].records
    assert (record.value, record.key, record.headers) == (value, b"\xfe", {"h": b"\x01"})


# Failures


def test_a_lost_answer_doubles_nothing(world: World) -> None:
    producer = world.producer()
    world.twin.fail(PRODUCE, applied=True, times=3)
    assert producer.enqueue("logs", "once", partition=0) == (0, 0)
    assert producer.enqueue("logs", "twice", partition=0) == (0, 1)
    assert world.twin.topics["logs"][0].values == ["once", "twice"]


def test_a_lost_request_loses_nothing(world: World) -> None:
    producer = world.producer()
    world.twin.fail(PRODUCE, times=3)
    assert producer.enqueue("logs", "once", partition=0) == (0, 0)
    assert world.twin.messages("logs") == ["once"]


def test_a_commit_timeout_is_retried_under_the_same_sequence(world: World) -> None:
    producer = world.producer()
    world.twin.fail(PRODUCE, CommitTimeout(), applied=True, times=2)
    producer.enqueue("logs", "once", partition=0)
    assert world.twin.messages("logs") == ["once"]
    assert len(world.twin.asked(PRODUCE)) == 3


def test_not_leader_is_followed_at_once(world: World) -> None:
    partition = world.twin.create("logs", 1)[0]
    producer = world.producer()
    partition.leader = world.twin.brokers[2]
    world.twin.stale_leaders["logs", 0] = world.twin.brokers[0]
    producer.enqueue("logs", "x")
    assert world.twin.asked(PRODUCE) == ["http://broker-1:80", "http://broker-3:80"]
    assert world.clock.slept == []
    producer.enqueue("logs", "y")
    assert world.twin.asked(PRODUCE)[2:] == ["http://broker-3:80"]


def test_an_election_is_waited_for(world: World) -> None:
    partition = world.twin.create("logs", 1)[0]
    producer = world.producer()
    partition.leader = ""
    world.clock.after(0.3, lambda: setattr(partition, "leader", world.twin.brokers[1]))
    started_s = world.clock.now_s
    producer.enqueue("logs", "x")
    assert partition.values == ["x"]
    assert 0.3 <= world.clock.now_s - started_s <= 1.0


def test_another_replica_names_the_new_leader_when_the_manager_is_gone_too(world: World) -> None:
    partition = world.twin.create("logs", 1)[0]
    producer = world.producer()
    producer.enqueue("logs", "x")
    world.twin.down = {world.twin.brokers[0], world.twin.manager}
    partition.leader = world.twin.brokers[2]
    producer.enqueue("logs", "y")
    assert partition.values == ["x", "y"]
    assert world.clock.slept == []


def test_brokers_out_of_reach_are_reached_through_the_manager(world: World) -> None:
    partitions = world.twin.create("logs", 2)
    world.twin.down = set(world.twin.brokers)
    for partition in partitions:
        partition.leader = "http://inside:80"
    producer = world.producer()
    for number in range(6):
        producer.enqueue("logs", f"{number}", headers={"n": f"{number}"})
    world.twin.fail(PRODUCE, applied=True, at=world.twin.manager)
    producer.enqueue("logs", b"\xff", key=b"\xfe")
    assert set(world.twin.asked(PRODUCE)) == {world.twin.manager}
    assert sorted(map(str, world.twin.messages("logs"))) == [*"012345", "b'\\xff'"]


def test_without_anyone_the_outcome_is_known(world: World) -> None:
    producer = world.producer(config=PATIENT)
    producer.enqueue("logs", "a", partition=0)
    world.twin.down = {world.twin.manager, *world.twin.brokers}
    with pytest.raises(DeliveryTimeout, match="did not happen") as caught:
        producer.enqueue("logs", "b", partition=0)
    assert caught.value.outcome_known
    assert caught.value.details["last_code"] in ("BROKER_UNREACHABLE", "MANAGER_NOT_FOUND")
    world.twin.down = set()
    assert producer.enqueue("logs", "c", partition=0) == (0, 1)


@pytest.mark.parametrize("applied", [True, False])
def test_an_unknown_outcome_is_reported_and_the_epoch_raised(world: World, applied: bool) -> None:
    world.twin.create("logs", 1)
    producer = world.producer(config=PATIENT)
    world.twin.fail(PRODUCE, applied=applied, times=1)
    world.twin.fail(PRODUCE, NoLeader(), times=1_000)
    with pytest.raises(DeliveryTimeout, match="may or may not") as caught:
        producer.enqueue("logs", "a")
    assert not caught.value.outcome_known
    world.twin.faults.clear()
    producer.enqueue("logs", "b")
    producer.enqueue("logs", "c")
    partition = world.twin.topics["logs"][0]
    assert partition.values == (["a"] if applied else []) + ["b", "c"]
    headers = [read_header(batch) for _, batch in partition.batches[-2:]]
    assert [(one.producer_epoch, one.base_sequence) for one in headers] == [(1, 0), (1, 1)]


def test_a_forgotten_producer_goes_on_in_a_higher_epoch(world: World) -> None:
    partition = world.twin.create("logs", 1)[0]
    producer = world.producer()
    producer.enqueue("logs", "a")
    partition.forget(read_header(partition.batches[0][1]).producer_id)
    assert producer.enqueue("logs", "b") == (0, 1)
    header = read_header(partition.batches[1][1])
    assert (header.producer_epoch, header.base_sequence) == (1, 0)


def test_a_forgotten_producer_does_not_repeat_a_batch_of_unknown_outcome(world: World) -> None:
    partition = world.twin.create("logs", 1)[0]
    producer = world.producer()
    producer.enqueue("logs", "a")
    world.twin.fail(PRODUCE, applied=True)
    world.twin.fail(PRODUCE, UnknownProducer())
    with pytest.raises(UnknownProducer) as caught:
        producer.enqueue("logs", "b")
    assert not caught.value.outcome_known
    assert partition.values == ["a", "b"]
    partition.forget(read_header(partition.batches[0][1]).producer_id)
    producer.enqueue("logs", "c")
    assert partition.values == ["a", "b", "c"]


def test_a_fenced_producer_is_told(world: World) -> None:
    producer = world.producer()
    world.twin.fail(PRODUCE, ProducerFenced())
    with pytest.raises(ProducerFenced):
        producer.enqueue("logs", "x", partition=0)
    producer.enqueue("logs", "y", partition=0)
    assert world.twin.messages("logs") == ["y"]


def test_an_expired_producer_reattaches_under_its_id(world: World) -> None:
    world.twin.create("logs", 1)
    producer = world.producer()
    before = producer.registration("logs").client_id
    producer.enqueue("logs", "a")
    world.twin.expired.add(before)
    producer.enqueue("logs", "b")
    assert producer.registration("logs").client_id == before
    assert world.twin.messages("logs") == ["a", "b"]


def test_a_revoked_producer_is_unauthorized(world: World) -> None:
    producer = world.producer()
    world.twin.clients.clear()
    with pytest.raises(UnauthorizedException):
        producer.enqueue("logs", "x", partition=0)


def test_reattaching_waits_for_a_manager(world: World) -> None:
    world.twin.create("logs", 1)
    producer = world.producer()
    producer.enqueue("logs", "a")
    world.twin.fail(PRODUCE, ClientExpired())
    world.twin.down.add(world.twin.manager)
    world.clock.after(20, lambda: world.twin.down.clear())
    producer.enqueue("logs", "b")
    assert world.twin.messages("logs") == ["a", "b"]


def test_an_overloaded_broker_is_given_the_time_it_asks_for(world: World) -> None:
    producer = world.producer()
    world.twin.fail(PRODUCE, Overloaded("full", retry_after_ms=700))
    producer.enqueue("logs", "x", partition=0)
    assert world.clock.slept == [0.7]


@pytest.mark.parametrize("seed", range(40))
def test_exactly_once_in_order_under_chaos(world: World, seed: int) -> None:
    import random

    world.twin.create("logs", 2)
    producer = world.producer()
    world.twin.chaos = random.Random(seed)
    sent: dict[int, list[str]] = {0: [], 1: []}
    for number in range(40):
        partition = number % 2
        text = f"{number}"
        try:
            if number % 5:
                producer.enqueue("logs", text, partition=partition)
                sent[partition].append(text)
            else:
                texts = [text, f"{number}+"]
                (batch,) = producer.produce_many("logs", texts, partition=partition)
                assert batch.message_count == 2
                sent[partition] += texts
        except QueueError as error:
            pytest.fail(f"seed {seed}: {error!r}")
    for partition, texts in sent.items():
        assert world.twin.topics["logs"][partition].values == texts, f"seed {seed}"


# Background


def test_sent_messages_arrive_in_order(world: World) -> None:
    world.twin.create("logs", 2)
    with world.producer() as producer:
        futures = [producer.send("logs", f"{n}", partition=n % 2) for n in range(200)]
        assert producer.flush(timeout=10)
        assert [future.result().partition for future in futures] == [0, 1] * 100
    assert world.twin.topics["logs"][1].values == [f"{n}" for n in range(1, 200, 2)]


def test_enqueue_waits_behind_what_was_sent(world: World) -> None:
    world.twin.create("logs", 1)
    with world.producer() as producer:
        for number in range(50):
            producer.send("logs", f"{number}")
        producer.enqueue("logs", "last")
    assert world.twin.messages("logs") == [*map(str, range(50)), "last"]


def test_a_future_carries_the_failure(world: World) -> None:
    with world.producer(config=PATIENT) as producer:
        producer.enqueue("logs", "x", partition=0)
        world.twin.down = {world.twin.manager, *world.twin.brokers}
        future = producer.send("logs", "y", partition=0)
        with pytest.raises(DeliveryTimeout):
            future.result(timeout=10)


def test_a_closed_producer_sends_nothing(world: World) -> None:
    producer = world.producer()
    producer.close()
    producer.close()
    for call in (producer.enqueue, producer.send):
        with pytest.raises(ClientClosed):
            call("logs", "x")
    assert world.transport.closed
    assert world.beats.clients == []


def test_a_producer_with_undelivered_messages_is_not_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(timeout_s: float) -> None:
        raise UndeliveredMessages

    producer = world.producer()
    with monkeypatch.context() as patch:
        patch.setattr(producer._sender, "stop", stop)
        with pytest.raises(UndeliveredMessages):
            producer.forget()
    assert world.twin.clients
    producer.forget()
    assert world.twin.clients == {}
    with pytest.raises(ClientClosed):
        producer.forget()


def test_an_interrupted_batch_is_never_mistaken_for_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = world.twin.create("logs", 1)[0]
    producer = world.producer()
    begin = world.transport.begin

    def interrupted(*args: object, **kwargs: object) -> object:
        begin(*args, **kwargs)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    producer.enqueue("logs", "a")
    monkeypatch.setattr(world.transport, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        producer.enqueue("logs", "b")
    monkeypatch.undo()
    assert producer.enqueue("logs", "c") == (0, 2)
    assert partition.values == ["a", "b", "c"]


def test_a_connection_error_removes_no_broker(world: World) -> None:
    world.twin.create("logs", 1)
    producer = world.producer()
    producer.enqueue("logs", "a")
    world.twin.down = {world.twin.brokers[0]}
    world.clock.after(0.5, lambda: world.twin.down.clear())
    producer.enqueue("logs", "b")
    world.clock.sleep(60)
    world.twin.requests.clear()
    producer.enqueue("logs", "c")
    assert world.twin.asked(PRODUCE) == [world.twin.brokers[0]]
    assert BrokerUnreachable("x").retriable
