from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from manager_app.placement.rules import (
    BrokerLoad,
    LedPartition,
    Transfer,
    choose_transfers,
    is_spread,
    place_partitions,
)


@st.composite
def clusters(draw):
    brokers = draw(st.integers(1, 9))
    factor = draw(st.integers(1, min(5, brokers)))
    ids = draw(st.lists(st.integers(1, 50), min_size=brokers, max_size=brokers, unique=True))
    return ids, factor


@given(clusters(), st.integers(0, 60))
def test_replicas_are_on_distinct_brokers_and_everything_is_spread(cluster, count):
    ids, factor = cluster
    placed = place_partitions(count, factor, [BrokerLoad(broker) for broker in ids])
    assert len(placed) == count
    assert all(len(set(brokers)) == factor == len(brokers) for brokers in placed)
    replicas = Counter(dict.fromkeys(ids, 0))
    replicas.update(broker for brokers in placed for broker in brokers)
    leaders = Counter(dict.fromkeys(ids, 0))
    leaders.update(brokers[0] for brokers in placed)
    assert max(replicas.values()) - min(replicas.values()) <= 1
    assert max(leaders.values()) - min(leaders.values()) <= 1


@given(clusters(), st.integers(1, 30), st.randoms(use_true_random=False))
def test_the_order_in_which_brokers_are_given_does_not_matter(cluster, count, random):
    ids, factor = cluster
    loads = [BrokerLoad(broker, broker % 3, broker % 2) for broker in ids]
    shuffled = loads[:]
    random.shuffle(shuffled)
    assert place_partitions(count, factor, loads) == place_partitions(count, factor, shuffled)


def test_an_empty_broker_gets_replicas_until_it_has_as_many_as_the_others():
    loads = [BrokerLoad(1, 10, 5), BrokerLoad(2, 10, 5), BrokerLoad(3, 10, 5), BrokerLoad(4)]
    placed = place_partitions(5, 2, loads)
    assert all(brokers[0] == 4 for brokers in placed)


@given(clusters(), st.integers(1, 30), st.data())
def test_a_partition_is_in_as_many_racks_as_there_are(cluster, count, data):
    ids, factor = cluster
    racks = {broker: data.draw(st.sampled_from(["", "a", "b"])) for broker in ids}
    loads = [BrokerLoad(broker, rack=rack) for broker, rack in racks.items()]
    there = {rack or broker for broker, rack in racks.items()}
    for brokers in place_partitions(count, factor, loads):
        assert len(set(brokers)) == factor
        assert len({racks[broker] or broker for broker in brokers}) == min(factor, len(there))


def test_three_brokers_lead_one_of_three_partitions_each():
    placed = place_partitions(3, 3, [BrokerLoad(1), BrokerLoad(2), BrokerLoad(3)])
    assert [brokers[0] for brokers in placed] == [1, 2, 3]


def test_a_leadership_moves_to_the_broker_that_leads_fewest():
    partitions = [LedPartition(group, 1, (1, 2, 3)) for group in (10, 11, 12)]
    assert choose_transfers(partitions, {1, 2, 3}) == [Transfer(10, 1, 2)]


def test_nothing_moves_when_leaders_are_spread():
    partitions = [LedPartition(group, leader, (1, 2)) for group, leader in ((1, 1), (2, 2), (3, 1))]
    assert choose_transfers(partitions, {1, 2}) == []


def test_a_broker_that_is_not_alive_gets_no_leadership():
    partitions = [LedPartition(group, 1, (1, 2, 3)) for group in (10, 11, 12)]
    assert choose_transfers(partitions, {1, 3}) == [Transfer(10, 1, 3)]
    assert choose_transfers(partitions, {1}) == []


def test_a_move_that_is_ruled_out_gives_way_to_another():
    partitions = [LedPartition(group, 1, (1, 2, 3)) for group in (10, 11)]
    ruled_out = []
    for expected in ((10, 2), (10, 3), (11, 2), (11, 3)):
        transfers = choose_transfers(partitions, {1, 2, 3}, without=ruled_out)
        assert transfers == [Transfer(expected[0], 1, expected[1])]
        ruled_out.append(expected)
    assert choose_transfers(partitions, {1, 2, 3}, without=ruled_out) == []


drawn_partitions = st.lists(
    st.tuples(st.integers(0, 4), st.permutations(range(5))), max_size=20
).map(
    lambda drawn: [
        LedPartition(group, brokers[0], tuple(brokers[: 1 + size]))
        for group, (size, brokers) in enumerate(drawn)
    ]
)


def spread(partitions):
    led = Counter(dict.fromkeys(range(5), 0))
    led.update(partition.leader for partition in partitions)
    return sum(count * count for count in led.values())


def moved(partitions, transfer):
    return [
        LedPartition(one.group_id, transfer.target, one.replicas)
        if one.group_id == transfer.group_id
        else one
        for one in partitions
    ]


@given(drawn_partitions)
def test_repeated_transfers_end_and_never_widen_the_spread(partitions):
    for _ in range(200):
        transfers = choose_transfers(partitions, set(range(5)))
        if not transfers:
            return
        before = spread(partitions)
        partitions = moved(partitions, *transfers)
        assert spread(partitions) < before
    raise AssertionError("transfers do not end")


@given(drawn_partitions)
def test_where_leaders_are_spread_no_transfer_helps(partitions):
    live = set(range(5))
    if is_spread(Counter(one.leader for one in partitions), live):
        assert choose_transfers(partitions, live) == []


def test_spread_are_leaders_when_none_leads_two_more_than_another_that_may_lead():
    assert is_spread({1: 5, 2: 4, None: 9}, {1, 2})
    assert not is_spread({1: 5, 2: 4}, {1, 2, 3})
    assert is_spread({1: 5}, set())


@given(drawn_partitions, st.integers(1, 5))
def test_each_of_several_transfers_narrows_the_spread_and_none_moves_twice(partitions, at_most):
    transfers = choose_transfers(partitions, set(range(5)), at_most=at_most)
    assert len({one.group_id for one in transfers}) == len(transfers) <= at_most
    for transfer in transfers:
        before = spread(partitions)
        assert transfer.source == partitions[transfer.group_id].leader
        partitions = moved(partitions, transfer)
        assert spread(partitions) < before
