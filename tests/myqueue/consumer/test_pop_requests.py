from __future__ import annotations

from myqueue.consumer.pop_requests import Pop, Pops, returnable
from myqueue.results import Message

WHERE = ("logs", 0)


def message(offset: int, partition: int = 0, topic: str = "logs") -> Message:
    return Message(topic, partition, offset, f"{offset}")


def test_every_pop_has_its_own_id() -> None:
    pops = Pops()
    first, second = pops.begin(WHERE, 5), pops.begin(WHERE, 5)
    assert first.request_id != second.request_id
    assert len(first.request_id) <= 64


def test_an_unsettled_pop_is_repeated_as_it_was_before_a_new_one() -> None:
    pops = Pops()
    pops.unsettled(WHERE, Pop("a", 5))
    pops.unsettled(WHERE, Pop("b", 2))
    assert pops.has_unsettled(WHERE)
    assert pops.begin(("logs", 1), 1).request_id not in "ab"
    repeated = [pops.begin(WHERE, 1) for _ in range(2)]
    assert repeated == [Pop("a", 5, uncertain=True), Pop("b", 2, uncertain=True)]
    assert not pops.has_unsettled(WHERE)
    assert pops.begin(WHERE, 1).request_id not in "ab"


def test_kept_messages_are_handed_out_first_and_in_order() -> None:
    pops = Pops()
    pops.keep([message(0), message(1), message(7, 1), message(9, 0, "other")])
    assert pops.waiting("logs") == 3
    assert pops.waiting("logs", 1) == 1
    assert pops.take(["logs"], 1) == [message(0)]
    assert pops.take(["logs"], 5, partition=1) == [message(7, 1)]
    assert pops.take(["logs", "other"], 5) == [message(1)]
    assert pops.take(["logs", "other"], 5) == [message(9, 0, "other")]
    assert pops.take(["logs"], 5) == []


def test_messages_are_handed_out_one_by_one() -> None:
    pops = Pops()
    pops.keep([message(0), message(1)])
    assert [pops.take_one() for _ in range(3)] == [message(0), message(1), None]


def test_messages_that_were_not_handed_out_go_back_to_the_front() -> None:
    pops = Pops()
    pops.keep([message(2)])
    pops.put_back([message(0), message(1)])
    assert pops.oldest(WHERE) == message(0)
    assert pops.drop(WHERE) == [message(0), message(1), message(2)]
    assert pops.oldest(WHERE) is None
    pops.keep([message(0), message(7, 1)])
    assert pops.drop_all() == {WHERE: [message(0)], ("logs", 1): [message(7, 1)]}


def test_a_cursor_moves_back_only_over_messages_without_a_gap() -> None:
    offsets = [5, 6, 7, 2, 3]
    others, run = returnable([message(offset) for offset in offsets])
    assert [one.offset for one in others] == [2, 3]
    assert [one.offset for one in run] == [5, 6, 7]
    assert returnable([message(4)]) == ([], [message(4)])
