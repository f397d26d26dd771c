from __future__ import annotations

import pytest

from myqueue.client import Client
from myqueue.contract.errors import Forbidden, InvalidRequest, TopicDoesNotExist
from myqueue.contract.records import Record, encode_batch
from myqueue.producer.producer import Producer
from myqueue.worker.redriving import BATCH_MESSAGES, DeadLetters, Redriven
from tests.myqueue.conftest import World


def kill(world: World, count: int, *, partitions: int = 2) -> None:
    """Put messages into the last partition and let all of them die."""
    last = world.twin.create("logs", partitions)[-1]
    last.put(*[str(number) for number in range(count)])
    with world.worker(delivery_limit=1) as worker:
        while found := worker.receive(timeout=0):
            worker.nack(*found)


def values(world: World, topic: str = "logs") -> list[list[str | bytes]]:
    return [partition.values for partition in world.twin.topics[topic]]


def test_dead_letters_go_back_to_their_partition_once(world: World) -> None:
    kill(world, BATCH_MESSAGES + 1)
    texts = [str(number) for number in range(BATCH_MESSAGES + 1)]
    with world.client() as client:
        steps = list(client.redriving("logs"))
        assert steps == [
            Redriven(BATCH_MESSAGES, BATCH_MESSAGES + 1),
            Redriven(BATCH_MESSAGES + 1, BATCH_MESSAGES + 1),
        ]
        assert client.redrive("logs") == 0
    assert values(world) == [[], texts + texts]
    back = world.twin.topics["logs"][1].records[-1]
    assert back.headers == {"redriven-from": f"logs.dead/1/{BATCH_MESSAGES}"}
    assert world.twin.clients.keys() - {1} == {
        client_id for client_id, (kind, _) in world.twin.clients.items() if kind == "producer"
    }


def test_the_total_leaves_out_what_came_back_before(world: World) -> None:
    kill(world, 3)
    with world.client() as client:
        assert client.redrive("logs", max_messages=1) == 1
        assert list(client.redriving("logs")) == [Redriven(2, 2)]
        with pytest.raises(InvalidRequest):
            client.redrive("logs", max_messages=0)


def test_a_run_that_was_cut_off_after_sending_doubles_nothing(world: World) -> None:
    kill(world, 5)
    letters = DeadLetters(
        "logs",
        world.twin.manager,
        group="redrive",
        transport=world.transport,
        clock=world.clock,
    )
    with Producer([], world.twin.manager, transport=world.transport, clock=world.clock) as producer:
        # Received five, sent three of them back, and died.
        found = letters._receive_from(1, 5)
        letters._send_back(producer, found[:3])
    with world.client() as client:
        assert client.redrive("logs") == 0, "they are in the hands of the run that died"
        world.clock.sleep(61)
        assert client.redrive("logs") == 5
    assert values(world)[1] == ["0", "1", "2", "3", "4"] * 2


@pytest.mark.parametrize("first", ["redrive", "mine"])
def test_what_another_group_sent_back_is_not_sent_again(world: World, first: str) -> None:
    kill(world, 5)
    second = {"redrive": "mine", "mine": "redrive"}[first]
    with world.client() as client:
        assert client.redrive("logs", group=first, max_messages=3) == 3
        assert client.redrive("logs", group=second) == 5
        assert client.redrive("logs", group=first) == 2
    assert values(world)[1] == ["0", "1", "2", "3", "4"] * 2


def test_whoever_may_not_see_groups_sends_letters_back_all_the_same(world: World) -> None:
    kill(world, 2)
    world.twin.fail("/groups", Forbidden("no viewer"))
    with world.client() as client:
        assert client.redrive("logs") == 2


def test_what_dies_again_meanwhile_is_left_for_the_next_run(world: World) -> None:
    kill(world, 1)
    with world.client() as client, world.worker(delivery_limit=1) as worker:
        for _ in client.redriving("logs"):
            worker.nack(*worker.receive(timeout=None))
        assert len(values(world, "logs.dead")[1]) == 2
        assert client.redrive("logs") == 1
    assert values(world)[1] == ["0"] * 3


def test_a_message_that_does_not_say_where_it_is_from_goes_by_its_key(world: World) -> None:
    world.twin.create("logs", 2)
    (letters,) = world.twin.create("graveyard", 1)
    records = [
        Record("keyed", "user-17"),
        Record("bare"),
        Record("odd", None, {"dead-letter-partition": "7"}),
    ]
    letters.append(encode_batch(records))
    with world.client() as client:
        assert client.redrive("logs", dead_letter_topic="graveyard") == 3
    found = [value for partition in values(world) for value in partition]
    assert sorted(found) == ["bare", "keyed", "odd"]


def test_dead_letters_of_another_topic_go_home(world: World) -> None:
    world.twin.create("other", 1)[0].put("x")
    world.twin.create("logs", 1)
    with world.worker("other", delivery_limit=1, dead_letter_topic="logs.dead") as worker:
        worker.nack(*worker.receive(timeout=None))
    with world.client() as client:
        assert client.redrive("logs") == 1
    assert values(world, "other") == [["x", "x"]]
    assert values(world) == [[]]


def test_a_topic_that_is_missing_is_told(world: World) -> None:
    world.twin.create("logs", 1)
    client: Client = world.client()
    assert client.redrive("logs") == 0
    with pytest.raises(TopicDoesNotExist):
        client.redrive("nothing")
    with pytest.raises(TopicDoesNotExist):
        client.redrive("logs", dead_letter_topic="graveyard")
