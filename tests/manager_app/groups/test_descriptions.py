from __future__ import annotations

from manager_app.groups.descriptions import group_detail
from manager_app.groups.offsets import Unsaid
from manager_app.selectors import StoredConsumerGroup
from myqueue.contract.answers import GroupOffset
from myqueue.contract.rules.assignors import TopicPartition
from myqueue.contract.rules.group_membership import (
    GroupState,
    Member,
    TopicShape,
    assignment_of,
)

HELD = frozenset(TopicPartition("logs", index) for index in range(2))
MEMBER = Member(frozenset({"logs"}), 900, granted=HELD, target=HELD)
STORED = StoredConsumerGroup(3, GroupState(5, {"logs": TopicShape(2, 1)}, {"k": MEMBER}))
SAID = GroupOffset(
    topic="logs",
    partition=0,
    group="billing",
    generation=4,
    offset=1,
    high_watermark=3,
    log_start_offset=0,
    lag=2,
    unsettled=0,
    dead=0,
)


def places(detail):
    return [(part.topic, part.partition, part.lag) for part in detail.partitions]


def test_a_topic_that_nobody_reads_any_more_is_shown_where_the_group_is_known():
    offsets = {
        ("logs", 0): SAID,
        ("logs", 1): Unsaid.NOT_THERE,
        ("old", 0): Unsaid.NOT_THERE,
        ("old", 1): SAID,
        ("x", 0): Unsaid.NO_ANSWER,
    }
    detail = group_detail("billing", STORED, offsets, heard={})
    assert places(detail) == [("logs", 0, 2), ("logs", 1, None), ("old", 1, 2), ("x", 0, None)]
    assert detail.generation == 5
    assert [part.member_id for part in detail.partitions] == ["k", "k", None, None]


def test_a_group_that_the_partitions_alone_know_has_their_generation():
    offsets = {
        ("logs", 0): SAID,
        ("logs", 1): Unsaid.NOT_THERE,
        ("logs", 2): Unsaid.NO_ANSWER,
    }
    detail = group_detail("jobs", None, offsets, heard={})
    assert places(detail) == [("logs", 0, 2)]
    assert (detail.generation, detail.members) == (4, [])


def test_a_member_is_asked_for_ten_heartbeats_in_its_session():
    calm = assignment_of("billing", STORED.state, "k")
    assert calm.heartbeat_interval_ms == 90
    assert calm.assignment == {"logs": [0, 1]}
