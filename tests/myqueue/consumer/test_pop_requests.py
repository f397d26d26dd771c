from __future__ import annotations

from myqueue.consumer.pop_requests import (
    PREFETCHED_PARTITIONS_MAX,
    Ahead,
    Pop,
    Pops,
    returnable,
)
from myqueue.results import Message

WHERE = ("logs", 0)


class NeverAnswered:
    """A request that is out."""

    def cancel(self) -> None:
        """Do nothing."""


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
    assert pops.is_open(WHERE)
    assert pops.begin(("logs", 1), 1).request_id not in "ab"
    repeated = [pops.begin(WHERE, 1) for _ in range(2)]
    assert repeated == [Pop("a", 5, uncertain=True), Pop("b", 2, uncertain=True)]
    assert not pops.is_open(WHERE)
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


def test_nothing_goes_ahead_where_the_fate_of_a_pop_is_open() -> None:
    pops = Pops()
    pops.unsettled(WHERE, Pop("a", 5))
    assert pops.begin_ahead(WHERE, 5) is None
    pops.begin(WHERE, 5)
    pop = pops.begin_ahead(WHERE, 5)
    assert pop is not None
    ahead = Ahead(pop, NeverAnswered())
    pops.sent_ahead(WHERE, ahead)
    assert pops.is_open(WHERE)
    assert pops.open_partitions() == {WHERE}
    assert pops.begin_ahead(WHERE, 5) is None
    assert pops.take_ahead(WHERE) == ahead
    assert pops.take_ahead(WHERE) is None
    assert not pops.is_open(WHERE)


def test_pops_ahead_are_bounded() -> None:
    pops = Pops()
    for partition in range(PREFETCHED_PARTITIONS_MAX):
        pop = pops.begin_ahead(("logs", partition), 5)
        assert pop is not None
        pops.sent_ahead(("logs", partition), Ahead(pop, NeverAnswered()))
    assert pops.begin_ahead(("more", 0), 5) is None


def test_when_closed_nothing_is_handed_out_but_can_still_be_given_back() -> None:
    pops = Pops()
    assert pops.offer([message(0)])
    pops.close()
    assert not pops.offer([message(1)])
    assert pops.take_one() is None
    assert pops.begin_ahead(WHERE, 5) is None
    assert pops.drop_all() == {WHERE: [message(0)]}


def test_what_is_forgotten_leaves_its_requests_to_be_cancelled() -> None:
    pops = Pops()
    pops.keep([message(0)])
    pops.unsettled(("logs", 1), Pop("a", 5))
    pending = NeverAnswered()
    pops.sent_ahead(WHERE, Ahead(Pop("b", 5), pending))
    assert pops.forget() == [pending]
    assert pops.open_partitions() == set()
    assert pops.drop_all() == {}
